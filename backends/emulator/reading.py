"""Strict YAML: values with the lines they stand on, doubled keys refused, problems told with place and remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping

import yaml
from pydantic import ValidationError

Lines = Mapping[tuple[str, ...], int]
"""Path of a key -> the line (from 1) that it stands on."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


class EmulatorConfigError(ValueError):
    """The configuration cannot be used; the text has one line per problem, each with its place and a remedy."""


def seconds(value: object) -> float:
    """Seconds from `90`, `1.5`, `"90s"`, `"250ms"`, `"15m"` or `"1h"`. Errors: ValueError that says so."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        msg = "write a duration as seconds or with a unit: 90, 250ms, 15m, 1h"
        raise ValueError(msg)
    return float(match[1]) * _UNITS[match[2]]


def read_mapping(text: str, source: str) -> tuple[dict[str, object], Lines]:
    """The mapping that `text` is, and where its keys stand. Errors: EmulatorConfigError."""
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        value = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        msg = f"{source}:{line}: not YAML: {error.problem}; correct the line"
        raise EmulatorConfigError(msg) from error
    except yaml.YAMLError as error:
        msg = f"{source}: not YAML: {error}; write plain UTF-8 text"
        raise EmulatorConfigError(msg) from error
    if not isinstance(value, dict):
        msg = f"{source}:1: not a mapping; start with `apiVersion: pointsman-emulator/v1`"
        raise EmulatorConfigError(msg)
    doubled = [f"{source}:{line}: {'.'.join(path)}: the key is there twice; keep one" for path, line in _doubled(tree)]
    if doubled:
        raise EmulatorConfigError("\n".join(doubled))
    lines: dict[tuple[str, ...], int] = {}
    for path, line in _keys(tree):
        lines.setdefault(path, line)
    return value, lines


def report(error: ValidationError, source: str, lines: Lines, keys: Iterable[str]) -> str:
    """All problems that pydantic found, one a line; `keys` are those that a misspelt one may have meant."""
    told = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        place = tuple(str(part) for part in problem["loc"] if part != "[key]")
        known = next((place[:end] for end in range(len(place), 0, -1) if place[:end] in lines), None)
        where = source if known is None else f"{source}:{lines[known]}"
        told.append(f"{where}: {'.'.join(place) or 'file'}: {_remedy(problem['type'], problem['msg'], place, keys)}")
    return "\n".join(told)


def _remedy(kind: str, said: str, place: tuple[str, ...], keys: Iterable[str]) -> str:
    match kind:
        case "extra_forbidden":
            near = difflib.get_close_matches(place[-1], sorted({*keys} - {place[-1]}), n=1)
            return f"unknown key; did you mean `{near[0]}`?" if near else "unknown key; remove it"
        case "string_type":
            return "must be text; put it in quotes"
        case "missing":
            return "is missing; add it"
        case _:
            return said.removeprefix("Value error, ")


def _keys(node: yaml.Node | None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, str(key.value)), key.start_mark.line + 1
            yield from _keys(value, (*path, str(key.value)))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, str(index)), value.start_mark.line + 1
            yield from _keys(value, (*path, str(index)))


def _doubled(node: yaml.Node | None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                yield (*path, name), key.start_mark.line + 1
            seen.add(name)
            yield from _doubled(value, (*path, name))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _doubled(value, (*path, str(index)))
