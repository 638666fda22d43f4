"""Scoring keys: what an instrument's numbers mean, and how sure we are of it.

A key holds numbers only (items, range, reversals, subscales, scoring, missing rule); the wording of items is
copyrighted and has no place here. Every part says where it comes from: ``read`` in a source, ``checked``
against a data file's own subtotals, or from ``memory``. A key with anything from memory in its scoring is
``verified: false``, and a study has to accept it explicitly. Cut-offs and reliable change are read or absent.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

#: Name of the scale made of all items; subscales cannot be called this.
TOTAL = "total"
#: Type of the errors that a key contradicting itself raises; their context holds the ``remedy``.
INCONSISTENT = "inconsistent"

Status = Literal["read", "checked", "memory"]
#: ``default``: the source states no rule, so this package applies one of its own and says so.
StatusOrDefault = Literal["read", "checked", "memory", "default"]
ItemNumber = Annotated[int, Field(ge=1)]
ScaleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class _KeyPart(BaseModel):
    """Strict base: unknown keys are errors, a number in quotes is no number, nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Score(_KeyPart):
    """How item values become a score: ``multiplier`` times their sum or mean."""

    method: Literal["sum", "mean"] = Field(description="Sum or mean of the keyed items of a scale.")
    multiplier: PositiveFloat = Field(
        default=1.0, description="Factor applied to the sum or mean (CORE forms: mean x 10)."
    )


class MissingRule(_KeyPart):
    """When a form with unanswered items is still scored.

    Without any limit, one answered item per scale is enough. ``max_missing_items`` limits the whole form
    only: a subscale is then limited by ``per_subscale`` and has to be complete where that does not list it.
    """

    method: Literal["person_mean", "person_mean_rounded", "none"] = Field(
        description="Value of a missing item: mean of the answered ones, that rounded half up, or none."
    )
    within: Literal["scale", "subscale"] = Field(
        default="scale",
        description="Take that mean over the scale being scored, or over the subscale of the item.",
    )
    max_missing_items: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Most items that may be missing from the whole form."
    )
    max_missing_share: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        default=None, description="Largest share of a scale's own items that may be missing."
    )
    per_subscale: dict[ScaleName, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict, description="Most items that may be missing, by subscale."
    )
    status: StatusOrDefault = Field(
        description="Where the rule comes from; 'default' where no rule is published."
    )
    source: str = Field(min_length=1, description="The source of the rule, in words.")


class CutOff(_KeyPart):
    """Published boundary or boundaries between scores; never from memory."""

    values: tuple[float, ...] = Field(
        min_length=1,
        description="Published value; with more than one, the study file chooses and nothing is assumed.",
    )
    clinical_at_value: bool | None = Field(
        default=None,
        description="Whether the value itself lies on the clinical side; null where the source is silent.",
    )
    status: Literal["read", "checked"] = Field(description="A cut-off from memory is left out, not marked.")
    source: str = Field(min_length=1, description="The source of the cut-off, in words.")

    @property
    def value(self) -> float | None:
        """The cut-off where exactly one is published, else None."""
        return self.values[0] if len(self.values) == 1 else None


class ReliableChange(_KeyPart):
    """Published reliable change index; never from memory."""

    value: PositiveFloat = Field(description="Change in score points that counts as reliable.")
    status: Literal["read", "checked"] = Field(description="An index from memory is left out, not marked.")
    source: str = Field(min_length=1, description="The source of the index, in words.")


class PartStatus(_KeyPart):
    """Where each part of a key comes from; the missing rule and the cut-offs carry their own status."""

    items: Status = Field(description="Status of the number of items.")
    range: Status = Field(description="Status of the item range.")
    reversed: Status = Field(
        description="Status of the reversals (also of there being none); the weakest item counts."
    )
    subscales: Status | None = Field(
        description="Status of the subscale membership; null where none is given."
    )
    score: StatusOrDefault = Field(
        description="Status of the scoring method; 'default' where the source states none."
    )


with warnings.catch_warnings():
    # The word of the field is also that of a deprecated class method of pydantic, which nothing here calls.
    warnings.filterwarnings("ignore", 'Field name "construct"', UserWarning)

    class _Measured(_KeyPart):
        construct: Literal["alliance", "severity"] = Field(description="What the form measures.")


class Instrument(_Measured):
    """Scoring key of one form.

    Validators look only at fields above their own, so that one fault does not hide the others.
    """

    name: str = Field(
        pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", description="Identifier, equal to the file name (wai-s)."
    )
    title: str = Field(min_length=1, description="Full name of the form.")
    raters: tuple[ScaleName, ...] = Field(min_length=1, description="Raters for whom the form exists.")
    n_items: PositiveInt = Field(description="Number of items.")
    item_range: tuple[float, float] = Field(description="Lowest and highest possible item value.")
    decimals_allowed: bool = Field(
        default=False, description="True for visual-analogue items; otherwise whole numbers."
    )
    reversed: tuple[ItemNumber, ...] = Field(description="Numbers (from 1) of the items scored in reverse.")
    reversed_from_memory: tuple[ItemNumber, ...] = Field(
        default=(), description="Those of the reversed items whose reversal nobody has read in a source."
    )
    subscales: dict[ScaleName, tuple[ItemNumber, ...]] = Field(
        default_factory=dict, description="Item numbers of each subscale; no item belongs to two."
    )
    has_total: bool = Field(
        default=True,
        validate_default=True,
        description="False where the form has subscales but no total score.",
    )
    score: Score = Field(description="How items become a score.")
    direction: Literal["higher_is_better", "higher_is_worse"] = Field(description="What a high score means.")
    missing: MissingRule = Field(description="When a form with unanswered items is still scored.")
    recall_days: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Days that the rater looks back; null: not known."
    )
    cut_off: CutOff | None = Field(default=None, description="Published cut-off of the total, or null.")
    reliable_change: ReliableChange | None = Field(
        default=None, description="Published reliable change, or null."
    )
    status: PartStatus = Field(description="Where each part of the key comes from: read, checked or memory.")
    verified: bool = Field(description="False if anything used in scoring is from memory.")
    source: str = Field(min_length=1, description="The source of the key, in words.")
    notes: str = Field(default="", description="What a user of the form should know.")

    @field_validator("item_range")
    @classmethod
    def _range_ascends(cls, value: tuple[float, float]) -> tuple[float, float]:
        _refuse(
            "give [lowest, highest]",
            ["the lowest value is not below the highest"] if value[0] >= value[1] else [],
        )
        return value

    @field_validator("reversed")
    @classmethod
    def _reversed_exist(cls, value: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        _refuse(
            "list each reversed item once, counting from 1", _item_problems(value, info.data.get("n_items"))
        )
        return value

    @field_validator("reversed_from_memory")
    @classmethod
    def _from_memory_reversed(cls, value: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        others = sorted(set(value) - set(info.data.get("reversed", value)))
        _refuse(
            "list only reversed items", [f"{_items(others)} not among the reversed items"] if others else []
        )
        return value

    @field_validator("subscales")
    @classmethod
    def _subscales_disjoint(
        cls, value: dict[str, tuple[int, ...]], info: ValidationInfo
    ) -> dict[str, tuple[int, ...]]:
        problems = [f"a subscale cannot be called '{TOTAL}'"] if TOTAL in value else []
        problems += [f"subscale '{name}' has no items" for name, items in value.items() if not items]
        for name, items in value.items():
            problems += [
                f"subscale '{name}': {text}" for text in _item_problems(items, info.data.get("n_items"))
            ]
        owners = Counter(item for items in value.values() for item in set(items))
        shared = sorted(item for item, count in owners.items() if count > 1)
        problems += [f"{_items(shared)} in more than one subscale"] if shared else []
        _refuse("give every item to one subscale at most", problems)
        return value

    @field_validator("has_total")
    @classmethod
    def _something_to_score(cls, value: bool, info: ValidationInfo) -> bool:
        nothing = not value and not info.data.get("subscales", True)
        _refuse("add subscales or set has_total: true", ["neither a total nor subscales"] if nothing else [])
        return value

    @field_validator("missing")
    @classmethod
    def _rule_fits(cls, value: MissingRule, info: ValidationInfo) -> MissingRule:
        _refuse("see the missing rules of the shipped keys", _missing_rule_problems(value, info.data))
        return value

    @field_validator("cut_off")
    @classmethod
    def _cut_off_reachable(cls, value: CutOff | None, info: ValidationInfo) -> CutOff | None:
        if value is not None and {"n_items", "item_range", "score"} <= info.data.keys():
            low, high = _score_range(info.data["n_items"], info.data["item_range"], info.data["score"])
            unreachable = not all(low <= cut <= high for cut in value.values)
            _refuse(
                "give it in points of the total score",
                [f"a cut-off lies outside the score's range {low:g} to {high:g}"] if unreachable else [],
            )
        return value

    @field_validator("status")
    @classmethod
    def _status_fits(cls, value: PartStatus, info: ValidationInfo) -> PartStatus:
        problems = []
        if info.data.get("reversed_from_memory") and value.reversed != "memory":
            problems.append("'reversed' is not 'memory' although some reversals are")
        if "subscales" in info.data and (value.subscales is None) != (not info.data["subscales"]):
            problems.append("'subscales' needs a status exactly where subscales are given")
        _refuse("state the status of the weakest item of each part", problems)
        return value

    @field_validator("verified")
    @classmethod
    def _verified_is_earned(cls, value: bool, info: ValidationInfo) -> bool:
        if value and {"status", "missing"} <= info.data.keys():
            parts = _parts_from_memory(info.data["status"], info.data["missing"])
            _refuse(
                "set verified: false", [f"verified although from memory: {', '.join(parts)}"] if parts else []
            )
        return value

    @property
    def scales(self) -> tuple[str, ...]:
        """Names of the scales that the form yields: ``total`` where it has one, then the subscales."""
        return (*((TOTAL,) if self.has_total else ()), *self.subscales)

    @property
    def unverified_parts(self) -> tuple[str, ...]:
        """Parts of the scoring that come from memory, for the report."""
        return _parts_from_memory(self.status, self.missing, self.reversed_from_memory)

    @property
    def commensurate_form(self) -> str:
        """Identity of the score: equal only for the same form, item range and scoring (as a digest)."""
        scoring = self.model_dump(
            mode="json", include={"n_items", "reversed", "subscales", "has_total", "score"}
        )
        scoring["reversed"].sort()
        digest = hashlib.sha256(json.dumps(scoring, sort_keys=True).encode()).hexdigest()[:8]
        return f"{self.name} | {self.item_range[0]:g}-{self.item_range[1]:g} | {self.score.method} {digest}"

    def items_of(self, scale: str) -> tuple[int, ...]:
        """Item numbers (from 1) of ``total`` or of a subscale; KeyError for an unknown subscale."""
        return tuple(range(1, self.n_items + 1)) if scale == TOTAL else self.subscales[scale]

    def score_range(self, scale: str = TOTAL) -> tuple[float, float]:
        """Lowest and highest possible score of ``total`` or of a subscale, in score points."""
        return _score_range(len(self.items_of(scale)), self.item_range, self.score)

    def with_study_settings(self, missing: MissingRule | None = None, recall_days: int | None = None) -> Self:
        """Return the key with what a study file may set.

        Parameters
        ----------
        missing : MissingRule, optional
            The study's missing rule; None keeps the key's.
        recall_days : int, optional
            Days that the rater looks back; None keeps the key's.

        Returns
        -------
        Instrument
            A new key, validated anew.

        Raises
        ------
        pydantic.ValidationError
            If the rule does not fit the form.
        """
        fields = {key: getattr(self, key) for key in type(self).model_fields}
        changes = {"missing": missing, "recall_days": recall_days}
        return type(self).model_validate(
            fields | {key: value for key, value in changes.items() if value is not None}
        )


def _refuse(remedy: str, problems: Iterable[str]) -> None:
    text = "; ".join(problems)
    if text:
        raise PydanticCustomError(INCONSISTENT, "{problem}", {"problem": text, "remedy": remedy})


def _items(numbers: Iterable[int]) -> str:
    numbers = [str(number) for number in numbers]
    return f"item{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"


def _item_problems(numbers: tuple[int, ...], n_items: int | None) -> list[str]:
    twice = sorted(number for number, count in Counter(numbers).items() if count > 1)
    beyond = sorted({number for number in numbers if n_items is not None and number > n_items})
    problems = [f"{_items(twice)} listed more than once"] if twice else []
    return problems + ([f"{_items(beyond)} beyond the {n_items} items of the form"] if beyond else [])


def _missing_rule_problems(rule: MissingRule, data: Mapping[str, Any]) -> list[str]:
    """List what in a rule contradicts itself or the parts of the key validated so far."""
    problems = []
    limited = rule.max_missing_items is not None or rule.max_missing_share is not None
    if rule.method == "none" and (limited or rule.per_subscale or rule.within == "subscale"):
        problems.append("method 'none' takes no limits")
    if rule.max_missing_items is not None and rule.max_missing_share is not None:
        problems.append("both max_missing_items and max_missing_share are given")
    if rule.max_missing_items is not None and rule.max_missing_items >= data.get("n_items", float("inf")):
        problems.append("max_missing_items leaves no item to take the mean of")
    if rule.per_subscale and rule.within == "scale" and data.get("has_total") and not limited:
        problems.append("per_subscale leaves the total without a limit")
    subscales = data.get("subscales")
    if subscales is not None:
        problems += [f"'{name}' is no subscale" for name in rule.per_subscale if name not in subscales]
        problems += [
            f"per_subscale leaves no item of '{name}'"
            for name, limit in rule.per_subscale.items()
            if limit >= len(subscales.get(name, ())) > 0
        ]
        unowned = data.get("n_items", 0) - sum(len(items) for items in subscales.values())
        if rule.within == "subscale" and subscales and unowned > 0 and data.get("has_total"):
            problems.append("within 'subscale' needs every item to be in a subscale")
    return problems


def _parts_from_memory(
    status: PartStatus, missing: MissingRule, reversed_items: tuple[int, ...] = ()
) -> tuple[str, ...]:
    parts = {**status.model_dump(), "missing rule": missing.status}
    detail = {"reversed": f"reversed ({_items(reversed_items)})"} if reversed_items else {}
    return tuple(detail.get(part, part) for part, origin in parts.items() if origin == "memory")


def _score_range(n_items: int, item_range: tuple[float, float], score: Score) -> tuple[float, float]:
    factor = score.multiplier * (n_items if score.method == "sum" else 1)
    return item_range[0] * factor, item_range[1] * factor
