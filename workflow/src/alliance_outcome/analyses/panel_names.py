"""Names of the panel models in estimates; nothing here needs an estimator."""

PANEL_ENGINE = "fiml"

#: The cross-lagged model with and without trends of clients, and the dynamic one.
TRENDS, PLAIN, DYNAMIC = "cross_lagged_trends", "cross_lagged", "dynamic_panel"
PANEL_MODELS = (TRENDS, PLAIN, DYNAMIC)

_SHIFTED = "after_leaving"


def split_version(model: str) -> tuple[str, str] | None:
    """Split the name of a version of a panel model into the model's and what sets it apart; None for other names."""
    if model in PANEL_MODELS:
        return None
    found = next((name for name in PANEL_MODELS if model.startswith(f"{name}_")), None)
    return None if found is None else (found, model.removeprefix(f"{found}_"))


def shifted_model(model: str, shift: float) -> str:
    """Name a model whose outcomes after leaving are shifted by so many standard deviations."""
    side = "worse" if shift > 0 else "better"
    return f"{model}_{_SHIFTED}_{abs(shift):g}_sd_{side}"


def shift_of(model: str) -> float | None:
    """Return the shift in a model's name; None where there is none."""
    own = model.rpartition(f"_{_SHIFTED}_")[2]
    if own == model:
        return None
    size, _, side = own.partition("_sd_")
    return float(size) * (1.0 if side == "worse" else -1.0)
