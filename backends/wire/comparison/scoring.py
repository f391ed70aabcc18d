"""Two answers, part by part, and one number for both together.

The number is the weighted mean of the parts that apply, times the part `outcome`: an answer and a failure have nothing
in common, whatever else is alike. Two failures are compared by their class alone. Parts of weight 0 are told and not
counted: pace has gates of its own, and a copy that runs by itself has another one than a client's request among others.

Promises: symmetric; 1 for an answer and itself; every value is in 0..1; the cost is bounded by the bounds of `texts`,
`shapes` and `meaning`, plus parsing the two bodies once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from policies.dialects import OPAQUE

from ..restjson import media_type
from . import shapes, texts, tools
from .heard import Cadence, Heard
from .meaning import Choice, Meaning, read_meaning, reading, whole

PARTS: Mapping[str, float] = MappingProxyType(
    {
        "outcome": 0.0,  # a factor, not a summand
        "headers": 0.05,
        "structure": 0.10,
        "text": 0.40,
        "reasoning": 0.05,
        "tools": 0.40,
        "finish": 0.15,
        "prompt_tokens": 0.10,
        "length": 0.15,
        "first_byte": 0.0,
        "gaps": 0.0,
    }
)
"""Name of each part -> its weight among those that apply."""

FIRST_SLACK, GAP_SLACK = 0.1, 0.02
"""Seconds that are added to both sides before paces are compared, since no reader sees less."""
_COUNT_SLOPE = 4.0
"""A prompt that is a quarter longer or shorter in tokens is another prompt: the templates differ."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How alike two answers are."""

    score: float
    parts: Mapping[str, float]
    """The parts that apply, in the order of `PARTS`."""

    @property
    def words(self) -> str:
        """The parts that are not fully alike, the worst first: `text 0.41, finish 0`."""
        worst = sorted((value, name) for name, value in self.parts.items() if value < 0.995)
        return ", ".join(f"{name} {value:.2g}" for value, name in worst) or "alike"


def compare(dialect: str, one: Heard, other: Heard) -> Comparison:
    """The two in comparison, bodies read in `dialect`. Never raises."""
    (found,) = whole(comparing(dialect, one, (other,)))
    return found


def comparing(dialect: str, one: Heard, others: Sequence[Heard]) -> Generator[None, None, list[Comparison]]:
    """`one` in comparison with each of the others, in slices of a fraction of a millisecond as `reading` gives them.

    A pair of long texts, or of bodies that are one document, is a slice by itself.
    """
    mine = yield from reading(dialect, one)
    found = []
    for other in others:
        theirs = yield from reading(dialect, other)
        found.append(_compared(one, other, mine, theirs))
        yield
    return found


def _compared(one: Heard, other: Heard, mine: Meaning, theirs: Meaning) -> Comparison:
    outcome = _outcome(one, other)
    if not one.answered or not other.answered:
        return Comparison(outcome, MappingProxyType({"outcome": outcome}))
    if mine.readable != theirs.readable:
        outcome = 0.0
    elif not mine.readable:  # neither is what the policy says: what they say is compared all the same
        mine, theirs = read_meaning(OPAQUE, one), read_meaning(OPAQUE, other)
    parts = {"outcome": outcome, **dict(_answer_parts(one, other, mine, theirs))}
    total = sum(PARTS[name] for name in parts)
    score = outcome * sum(PARTS[name] * value for name, value in parts.items()) / total
    ordered = {name: parts[name] for name in PARTS if name in parts}
    return Comparison(min(1.0, score), MappingProxyType(ordered))


def _outcome(one: Heard, other: Heard) -> float:
    if one.answered or other.answered:
        return float(one.answered and other.answered)
    if (one.status, one.error, one.broken) == (other.status, other.error, other.broken):
        return 1.0
    return 0.5 if one.status // 100 == other.status // 100 and one.broken == other.broken else 0.0


def _answer_parts(one: Heard, other: Heard, mine: Meaning, theirs: Meaning) -> Iterator[tuple[str, float]]:
    same_type = media_type(one.content_type) == media_type(other.content_type)
    yield "headers", (same_type + (one.attributes == other.attributes)) / 2
    yield "structure", shapes.likeness(mine.shape, theirs.shape)
    pairs = _paired(mine.choices, theirs.choices)
    calls = any(choice.tools for pair in pairs for choice in pair)
    if not calls or any(choice.text.strip() for pair in pairs for choice in pair):
        yield "text", _mean(pairs, lambda a, b: texts.similarity(a.text, b.text))
    if any(choice.reasoning for pair in pairs for choice in pair):
        yield "reasoning", _mean(pairs, lambda a, b: texts.similarity(a.reasoning, b.reasoning))
    if calls:
        yield "tools", _mean(pairs, lambda a, b: tools.likeness(a.tools, b.tools))
    if any(choice.finish for pair in pairs for choice in pair):
        yield "finish", _mean(pairs, lambda a, b: float(a.finish == b.finish))
    if mine.prompt_tokens is not None and theirs.prompt_tokens is not None:
        yield "prompt_tokens", max(0.0, 1 - _COUNT_SLOPE * (1 - _ratio(mine.prompt_tokens, theirs.prompt_tokens)))
    yield "length", _length(mine, theirs)
    if one.cadence is not None and other.cadence is not None:
        yield from _paces(one.cadence, other.cadence)


def _paces(one: Cadence, other: Cadence) -> Iterator[tuple[str, float]]:
    yield "first_byte", _ratio(one.first + FIRST_SLACK, other.first + FIRST_SLACK)
    yield "gaps", _ratio(one.gap() + GAP_SLACK, other.gap() + GAP_SLACK)


def _paired(mine: Sequence[Choice], theirs: Sequence[Choice]) -> list[tuple[Choice, Choice]]:
    """Choices by their index; an answer that lacks one is compared as if it were empty."""
    longest = max(len(mine), len(theirs))
    filled = [[*choices, *[Choice()] * (longest - len(choices))] for choices in (mine, theirs)]
    return list(zip(*filled, strict=True))


def _mean(pairs: Sequence[tuple[Choice, Choice]], of: Callable[[Choice, Choice], float]) -> float:
    return sum(of(*pair) for pair in pairs) / len(pairs) if pairs else 1.0


def _length(mine: Meaning, theirs: Meaning) -> float:
    if mine.completion_tokens is not None and theirs.completion_tokens is not None:
        return _ratio(mine.completion_tokens, theirs.completion_tokens)
    sizes = [sum(len(choice.text) + len(choice.reasoning) for choice in one.choices) for one in (mine, theirs)]
    return _ratio(*sizes)


def _ratio(one: float, other: float) -> float:
    return min(one, other) / max(one, other) if one != other else 1.0
