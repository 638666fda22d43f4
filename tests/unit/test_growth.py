"""Model-implied severity at a fixed session."""

import numpy as np
import pandas as pd
import pytest

from alliance_outcome.models.growth import implied_severity


@pytest.fixture(scope="module")
def courses():
    generator = np.random.default_rng(8)
    client = np.repeat(np.arange(150), 8)
    session = np.tile(np.arange(1, 9), 150)
    intercept = 20 + generator.normal(0, 4, 150)
    slope = -3 + generator.normal(0, 1.5, 150)
    severity = intercept[client] + slope[client] * np.log(session) + generator.normal(0, 2, len(client))
    return pd.DataFrame(
        {"client": client, "session": session, "severity": severity}
    ), intercept + slope * np.log(10)


def test_predictions_are_close_to_the_true_course(courses):
    rows, truth = courses
    found = implied_severity(rows["severity"], rows["session"], rows["client"], 10)
    error = found.to_numpy() - truth
    assert abs(error.mean()) < 0.3
    # Shrunken predictions beat each client's own least-squares line.
    lines = [np.polyfit(np.log(own["session"]), own["severity"], 1) for _, own in rows.groupby("client")]
    own_error = np.array([line @ [np.log(10), 1] for line in lines]) - truth
    assert np.mean(error**2) < np.mean(own_error**2)


def test_row_order_does_not_matter(courses):
    rows, _ = courses
    found = implied_severity(rows["severity"], rows["session"], rows["client"], 10)
    shuffled = rows.sample(frac=1, random_state=2)
    again = implied_severity(shuffled["severity"], shuffled["session"], shuffled["client"], 10)
    np.testing.assert_allclose(again.loc[found.index], found, rtol=1e-8)
