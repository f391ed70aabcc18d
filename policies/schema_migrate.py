"""The `migrate` block exactly as written; what it takes two blocks to see is `compiling_migrate`'s."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from .redaction import pattern_problem
from .scalars import Block, Budget, Hold, Kept, Share, Size, TargetName, Window, Word, checked, written

_POINTS = r"^at most \+[0-9]{1,2}(\.[0-9]{1,4})? points$"
_RELATIVE = r"^at most \+[0-9]{1,3}(\.[0-9]{1,2})?% relative$"
_FLOOR = r"^at least (0\.[0-9]{1,4}|1(\.0{1,4})?) of the A/A floor$"
_PART = r"^at most [0-9]{1,4}(\.[0-9]{1,2})?%$"


def _bound(pattern: str, per: float, example: str, span: str) -> Callable[[str], float]:
    """A reader of a bound that a gate has in words; its number, which may be in `span`, is divided by `per`."""
    form, number = re.compile(pattern), re.compile(r"[0-9]+(?:\.[0-9]+)?")

    def read(text: str) -> float:
        found = number.search(text)
        if form.match(text) is None or found is None or not float(found[0]):
            message = f"is not a bound that this gate knows; write it like `{example}`, {span}"
            raise ValueError(message)
        return float(found[0]) / per

    return read


def _gate(pattern: str, per: float, example: str, span: str) -> tuple[BeforeValidator, WithJsonSchema]:
    shown = WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})
    return BeforeValidator(written(_bound(pattern, per, example, span), "bound in words", example)), shown


_points, _points_shown = _gate(_POINTS, 100, "at most +0.2 points", "more than 0 and less than 100 points")
_relative, _relative_shown = _gate(_RELATIVE, 100, "at most +10% relative", "more than 0% and less than 1000%")
_floor, _floor_shown = _gate(_FLOOR, 1, "at least 0.97 of the A/A floor", "more than 0 and at most 1")
_part, _part_shown = _gate(_PART, 100, "at most 80%", "more than 0% and less than 10000%")

Points = Annotated[float, _points, _points_shown]
Relative = Annotated[float, _relative, _relative_shown]
Floor = Annotated[float, _floor, _floor_shown]
Part = Annotated[float, _part, _part_shown]


class Step(Block):
    """One step of a migration."""

    shadow: Annotated[Share, Field(gt=0)] | None = Field(
        None, description="Share of the old target's requests that the new one gets a copy of: 5%."
    )
    share: Annotated[Share, Field(gt=0)] | None = Field(
        None, description="Share of the traffic that the new target serves: 5%."
    )
    hold: Hold | None = Field(None, description="How long it lasts at least: 24h, 3d.")
    approve: Word | None = Field(None, description="Who has to agree before it is left: owner, or a name.")
    budget: Budget | None = Field(None, description="What its copies may cost: 40 USD/day. Without it: any amount.")


class Gates(Block):
    """What the new target may not do worse, against the old one over the same time."""

    errors: Points | None = Field(None, description="Share of requests that fail: at most +0.2 points.")
    cold_share: Points | None = Field(None, description="Share that meets a cold copy: at most +1 points.")
    latency_p95: Relative | None = Field(None, description="Time to the last byte: at most +10% relative.")
    latency_p99: Relative | None = Field(None, description="Time to the last byte: at most +20% relative.")
    first_byte_p95: Relative | None = Field(None, description="Time to the first byte: at most +10% relative.")
    first_byte_p99: Relative | None = Field(None, description="Time to the first byte: at most +20% relative.")
    agreement: Floor | None = Field(
        None, description="How alike the answers are, against the old target's own: at least 0.97 of the A/A floor."
    )
    cost_at_full_share: Part | None = Field(
        None, description="What it would cost at 100%, as a part of the old target's cost: at most 80%."
    )


GateName = Literal[
    "errors", "cold_share", "latency_p95", "latency_p99", "first_byte_p95", "first_byte_p99", "agreement",
    "cost_at_full_share", "otherwise",
]  # fmt: skip
WayBack = Literal["start", "last-good"]


class Keep(Block):
    """What is kept of the old target."""

    can_take: Annotated[Share, Field(gt=0)] = Field(
        1.0, description="Share of the traffic that it has to be able to take at any time: 100%."
    )
    until: Kept = Field(14 * 86_400.0, description="How long it is kept: 14d after 100%.")

    unknown: Literal["wait", "trust"] = Field(
        "wait",
        description="What counts while nobody can say what it could take: wait (nothing), or trust (all of can_take).",
    )


class Approvals(Block):
    """Who may agree where a step asks for it. Names are what the command is told: nothing proves them."""

    by: list[Word] | None = Field(None, min_length=1, description="Names of those who may; without it anybody.")
    four_eyes: bool = Field(False, description="true: not whoever started the migration.")


class Redact(Block):
    """What is taken out of bodies before they are kept."""

    keys: list[Word] | None = Field(
        None, min_length=1, description="Names of keys whose values go, at any depth and in any case of letters."
    )
    patterns: list[Annotated[str, checked(pattern_problem)]] | None = Field(
        None, min_length=1, max_length=50, description="Regular expressions (Python's): what they match goes."
    )
    mask: bool = Field(False, description="true: every letter and digit of all texts becomes an x.")


class KeepDifferences(Block):
    """Which differences between the old target's answers and the new one's are kept."""

    folder: Annotated[str, Field(min_length=1, max_length=4096, pattern="^/")] = Field(
        description="Where, on the disk of each machine that serves; an absolute path."
    )
    redact: Literal["nothing"] | Redact = Field(
        description="What is taken out first; nothing: bodies stay as they are."
    )
    most: Size = Field(64 * 1024**2, description="What is kept of one migration on one machine at most: 64MiB.")
    below: Annotated[Share, Field(gt=0)] = Field(
        0.9, description="How alike two answers have to be for nothing to be kept: 90%."
    )


class Migrate(Block):
    """How an endpoint moves from the target that serves it to another."""

    to: TargetName = Field(description="Target that it moves to; it moves from serve_from.")
    steps: list[Step] = Field(min_length=1, max_length=50, description="In this order, each after the one before.")
    gates: Gates | None = Field(None, description="What has to hold for each step. Without it: time alone decides.")
    false_alarms: Annotated[Share, Field(ge=0.0001, le=0.2)] = Field(
        0.01, description="How likely a breach may be called where there is none, from start to end: 1%."
    )
    approvals: Approvals | None = Field(None, description="Who may approve. Without it: anybody.")
    on_breach: dict[GateName, WayBack] | None = Field(
        None, min_length=1, description="Where a breach of each gate leads: start or last-good. Without it: last-good."
    )
    freeze: Window | None = Field(None, description="When it never grows: Fri 16:00 - Mon 08:00 America/New_York.")
    keep: dict[TargetName, Keep] | None = Field(
        None, min_length=1, max_length=1, description="What is kept of the old target, so that a rollback finds room."
    )
    keep_differences: KeepDifferences | None = Field(
        None, description="Keep answers of copies that differ, to be read. Without it: none is kept."
    )
    group: Word | None = Field(None, description="Name of a group: its endpoints move and roll back together.")
