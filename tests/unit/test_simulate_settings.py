"""The generator's settings: documented, frozen, and free of contradictions."""

from __future__ import annotations

import ast
import inspect
import sys

import pytest
from pydantic import ValidationError

from alliance_outcome import simulation_settings
from alliance_outcome.simulation_settings import SimulationSettings


def test_every_setting_has_description_unit_and_default():
    for name, field in SimulationSettings.model_fields.items():
        assert field.description, name
        assert field.json_schema_extra["unit"], name
        assert not field.is_required(), name


def test_schema_carries_units():
    properties = SimulationSettings.model_json_schema()["properties"]
    assert properties["within_client_effect_client"]["unit"] == "CORE-10 points per WAI-S point"
    assert {"description", "default", "unit"} <= set(properties["n_clients"])


def test_unknown_keys_and_changes_are_refused():
    with pytest.raises(ValidationError, match="n_client\n"):
        SimulationSettings(n_client=10)
    with pytest.raises(ValidationError, match="frozen"):
        SimulationSettings().n_clients = 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_clients": 501}, "caseload_max"),
        ({"n_clients": 74}, "caseload_min"),
        ({"planned_sessions_min": 12, "planned_sessions_max": 11}, "planned_sessions_min is greater"),
        ({"planned_sessions_min": 6, "sessions_before_dropout": 6}, "sessions_before_dropout"),
        ({"alliance_effect_onset": 8}, "alliance_effect_onset"),
        (
            {"intake_client_alliance_correlation": -0.9, "alliance_correlation_between_client": 0.9},
            "three correlations",
        ),
        ({"severity_client_trend_correlation": 0.9, "alliance_trend_correlation": 0.9}, "three correlations"),
        ({"rupture_probability": 1.2}, "less than or equal to 1"),
        ({"severity_innovation_sd": float("nan")}, "finite number"),
    ],
)
def test_contradictions_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        SimulationSettings(**changes)


def test_limits_of_the_caseloads_are_allowed():
    assert SimulationSettings(n_clients=75).n_clients == 75
    assert SimulationSettings(n_clients=500).n_clients == 500


def test_module_imports_only_pydantic_and_the_standard_library():
    tree = ast.parse(inspect.getsource(simulation_settings))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert {module.split(".")[0] for module in imported} <= {"pydantic", *sys.stdlib_module_names}
