"""The words of a policy: the types that its blocks are made of, each with how it is read and what an editor is told.

A duration is read here and nowhere else, so that `60s` means the same in every block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from . import calendar
from .addresses import guardrail_refusal, imported_model_refusal, role_refusal, url_refusal
from .quantities import (
    BUDGET_PATTERN,
    DURATION_PATTERN,
    HOLD_PATTERN,
    IDLE_PATTERN,
    KEPT_PATTERN,
    RANGE_PATTERN,
    RATE_PATTERN,
    SHARE_PATTERN,
    SILENCE_PATTERN,
    SIZE_PATTERN,
    budget,
    duration_range,
    hold,
    idle_limit,
    kept,
    rate,
    seconds,
    share,
    silence,
    size,
)

T = TypeVar("T")

# SageMaker's own patterns for EndpointName and InferenceComponentName (botocore 1.44.5, sagemaker-runtime model).
ENDPOINT_NAME = r"^[a-zA-Z0-9](-*[a-zA-Z0-9])*$"
COMPONENT_NAME = r"^[a-zA-Z0-9]([\-a-zA-Z0-9]*[a-zA-Z0-9])?$"
HEADER_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z\-]+"

Dialect = Literal["openai-chat", "openai-completions", "bedrock-completion", "tgi", "lmi", "opaque"]
IsolationName = Literal["shared", "container", "instance"]


def written(read: Callable[[str], T], noun: str, example: str) -> Callable[[object], T]:
    """A pydantic validator out of one of `quantities`' readers."""

    def validate(value: object) -> T:
        if not isinstance(value, str):
            unit = f"must be a {noun} with its unit, such as {example}"
            raise refused(unit)
        try:
            return read(value)
        except ValueError as error:
            raise refused(str(error)) from error

    return validate


def refused(text: str) -> PydanticCustomError:
    """An error of pydantic that says exactly `text`."""
    return PydanticCustomError("policy", "{text}", {"text": text})


def _text(pattern: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": list(examples)})


Duration = Annotated[
    float,
    Field(gt=0, le=86_400),
    BeforeValidator(written(seconds, "duration", "60s")),
    _text(DURATION_PATTERN, "60s", "8m", "1h30m", "500ms"),
]
Size = Annotated[
    int, Field(gt=0), BeforeValidator(written(size, "size", "25MiB")), _text(SIZE_PATTERN, "25MiB", "25MB")
]
Share = Annotated[float, BeforeValidator(written(share, "share", "10%")), _text(SHARE_PATTERN, "10%", "0.5%")]
RateText = Annotated[
    tuple[float, float], BeforeValidator(written(rate, "rate", "50/s")), _text(RATE_PATTERN, "50/s", "100k/min")
]
DurationRange = Annotated[
    tuple[float, float],
    BeforeValidator(written(duration_range, "range of durations", "60s..5m")),
    _text(RANGE_PATTERN, "60s..5m"),
]
Hold = Annotated[
    float,
    Field(gt=0),
    BeforeValidator(written(hold, "duration", "24h")),
    _text(HOLD_PATTERN, "24h", "3d", "1d12h"),
]
Kept = Annotated[
    float, BeforeValidator(written(kept, "time after 100%", "14d after 100%")), _text(KEPT_PATTERN, "14d after 100%")
]
Budget = Annotated[
    float, Field(gt=0), BeforeValidator(written(budget, "budget", "40 USD/day")), _text(BUDGET_PATTERN, "40 USD/day")
]

Silence = Annotated[
    tuple[float, int | None],
    BeforeValidator(written(silence, "duration or percentile", "500ms or p95")),
    _text(SILENCE_PATTERN, "500ms", "p95"),
]

_IDLE = written(idle_limit, "duration or `measured`", "15m")
IdleLimit = Annotated[float | None, BeforeValidator(_IDLE), _text(IDLE_PATTERN, "measured", "15m")]
Hours = Annotated[
    calendar.Calendar,
    BeforeValidator(written(calendar.read_calendar, "calendar", "Mon-Fri 06:00-20:00 America/New_York")),
    _text(r"^.*[0-2][0-9]:[0-5][0-9]-[0-2][0-9]:[0-5][0-9] +[A-Za-z].*$", "Mon-Fri 06:00-20:00 America/New_York"),
]

Window = Annotated[
    calendar.Calendar,
    BeforeValidator(written(calendar.read_window, "stretch of time", "Fri 16:00 - Mon 08:00 America/New_York")),
    _text(r"^.*[0-2][0-9]:[0-5][0-9].*[0-2][0-9]:[0-5][0-9] +[A-Za-z].*$", "Fri 16:00 - Mon 08:00 America/New_York"),
]

TargetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=63)]
EndpointName = Annotated[str, Field(pattern=ENDPOINT_NAME, max_length=63)]
ComponentName = Annotated[str, Field(pattern=COMPONENT_NAME, max_length=63)]
Word = Annotated[str, Field(pattern=r"^[!-~]([ -~]*[!-~])?$", max_length=256)]
"""Printable ASCII: it may end up in a header, a metric label or a log line."""
Region = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*[a-z0-9]$", max_length=32)]


def checked(refusal: Callable[[str], str | None]) -> AfterValidator:
    """A check out of one of `addresses`' refusals."""

    def validate(value: str) -> str:
        reason = refusal(value)
        if reason is not None:
            raise refused(reason)
        return value

    return AfterValidator(validate)


Url = Annotated[str, Field(min_length=1, max_length=2048), checked(url_refusal)]
ImportedModelArn = Annotated[str, Field(max_length=256), checked(imported_model_refusal)]
RoleArn = Annotated[str, Field(max_length=2048), checked(role_refusal)]
GuardrailId = Annotated[str, Field(max_length=2048), checked(guardrail_refusal)]
GuardrailVersion = Annotated[str, Field(pattern=r"^([1-9][0-9]{0,7}|DRAFT)$")]


class Block(BaseModel):
    """What every block shares: unknown keys are errors, and nothing is converted from one type to another."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)
