"""What pydantic found wrong, in the words of someone who writes policies: place, reason, remedy.

Values are quoted as they stand in the file, so that nothing an environment variable holds gets into a report.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from .document import Document
from .editor import Schema, json_schema, known_keys
from .errors import Path, Problem, dotted
from .findings import nearest
from .quantities import HOLD_PATTERN, show_seconds, show_share

PLANNED = frozenset({"release"})
"""Keys that later versions will have; someone who writes one has read about it, not mistyped."""

_NOUNS = {"string": "text", "bool": "true or false", "int": "a whole number", "float": "a number", "list": "a list"}
_YAML_1_1_BOOLEANS = {"y": "true", "yes": "true", "on": "true", "n": "false", "no": "false", "off": "false"}
_NAME_RULES = {
    "targets": "begin with a letter or digit, then letters, digits, `.`, `_` and `-`",
    "endpoints": "be letters, digits and single or repeated `-` between them, as SageMaker's EndpointName",
    "components": "be letters, digits and `-` between them, as SageMaker's InferenceComponentName",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """One thing that the schema refuses, and what has to be taken out of the document so that the rest can be read."""

    path: Path
    problem: Problem
    take_out: Path


def refusals(error: ValidationError, document: Document) -> tuple[Refusal, ...]:
    """Everything that one validation refuses."""
    details = error.errors(include_url=False)
    schema = _schema() if any(detail["type"] == "extra_forbidden" for detail in details) else {}
    found = []
    for detail in details:
        if _of_the_other_form(detail):
            continue
        path, of_key = _path(detail["loc"])
        message = _name_message(path) if of_key else _message(detail, path, document, schema)
        lacking = detail["type"] == "missing" and len(path) > 1
        problem = Problem(dotted(path), document.line(path), message)
        found.append(Refusal(path, problem, path[:-1] if lacking else path))
    return tuple(found)


@cache
def _schema() -> Schema:
    """Made once, and only where a key is unknown: it takes longer than reading a policy, on a loop that serves."""
    return json_schema()


def _path(loc: tuple[str | int, ...]) -> tuple[Path, bool]:
    """The path in the document, and whether the error is about the key itself."""
    of_key = loc[-1:] == ("[key]",)
    if of_key:
        loc = loc[:-1]
    if loc[:1] == ("targets",) and len(loc) > 2 and not of_key:
        loc = (*loc[:2], *loc[3:])  # pydantic names the kind of target that it chose there
    at = _form_of(loc)
    return (loc if at is None else (*loc[:at], *loc[at + 1 :])), of_key


def _form_of(loc: tuple[str | int, ...]) -> int | None:
    """Where pydantic names the form of `redact` that it tried: a word, or a block."""
    after = (at + 2 for at, part in enumerate(loc[:-2]) if (part, loc[at + 1]) == ("keep_differences", "redact"))
    return next(after, None)


def _of_the_other_form(detail: ErrorDetails) -> bool:
    """Pydantic tries both forms of `redact`, and tells of each why what stands there is not that."""
    loc, at = detail["loc"], _form_of(detail["loc"])
    if at is None:
        return False
    word = loc[at] != "Redact"
    return isinstance(detail["input"], dict) if word else detail["type"] == "model_type" and at == len(loc) - 1


def _name_message(path: Path) -> str:
    rule = _NAME_RULES.get(str(path[-2]) if len(path) > 1 else "")
    if rule is None:
        return "is not a possible header name" if "header" in path else "is not the name of a target"
    return f"is not a possible name; it must {rule}, at most 63 characters"


def _message(detail: ErrorDetails, path: Path, document: Document, schema: Schema) -> str:
    kind = detail["type"]
    context: Mapping[str, object] = detail.get("ctx", {})
    match kind:
        case "policy":
            return str(context["text"])
        case "missing":
            return "is required"
        case "extra_forbidden":
            return _unknown_key(str(path[-1]), known_keys(schema, path[:-1], document.data))
        case "union_tag_invalid" | "union_tag_not_found":
            return _kind_message(detail["input"])
        case "literal_error":
            return _literal_message(str(context["expected"]), detail["input"], path, document)
        case "string_pattern_mismatch":
            return f"{_pattern_rule(path)}{_as_written(path, document)}"
        case _:
            return _other_message(detail, path, document)


def _literal_message(expected: str, given: object, path: Path, document: Document) -> str:
    if isinstance(given, str) and given in expected.replace(" or ", ", ").split(", "):
        return f"must be {expected}, without quotes"
    block = " or a block of keys" if path[-1] == "redact" else ""
    return f"must be {expected}{block}{_as_written(path, document)}"


def _other_message(detail: ErrorDetails, path: Path, document: Document) -> str:
    kind: str = detail["type"]
    noun = kind.removesuffix("_type")
    if kind.endswith("_type"):
        return _type_message(_NOUNS.get(noun, "a block of keys"), path, document)
    if kind in _LIMITS:
        return f"must be {_LIMITS[kind]} {_limit(detail['ctx'], path, document)}"
    if kind == "too_short":
        return "must not be empty"
    if kind == "too_long":
        return f"must have at most {detail['ctx']['max_length']} entries"
    return detail["msg"].replace("Input should", "must").replace("String should", "must").replace("should", "must")


_LIMITS = {
    "greater_than": "greater than",
    "greater_than_equal": "greater than or equal to",
    "less_than": "less than",
    "less_than_equal": "less than or equal to",
}


def _limit(context: Mapping[str, float], path: Path, document: Document) -> str:
    """The limit, in the unit that the value is written in."""
    (limit,) = context.values()
    mark = document.marks.get(path)
    text = mark.text if mark is not None and mark.text else ""
    if limit and text.endswith("%"):
        return show_share(limit)
    return show_seconds(limit) if limit and re.fullmatch(HOLD_PATTERN[1:-1], text) else f"{limit:.15g}"


def _unknown_key(key: str, known: tuple[str, ...]) -> str:
    if key in PLANNED:
        return "not offered in this version; delete the key"
    return f"unknown key{nearest(key, known)}"


def _kind_message(given: object) -> str:
    if not isinstance(given, dict):
        return "must be a block of keys that begins with `kind: endpoint`, `kind: bedrock` or `kind: vllm`"
    if "kind" not in given:
        return "needs a kind: endpoint (anything that speaks InvokeEndpoint), bedrock or vllm"
    kind = given["kind"]
    return f"has an unknown kind{nearest(kind if isinstance(kind, str) else '', ('bedrock', 'endpoint', 'vllm'))}"


def _type_message(noun: str, path: Path, document: Document) -> str:
    mark = document.marks.get(path)
    text = mark.text if mark is not None else None
    if noun == "text" and text is not None and path[-1] == "approve":
        return f"must be owner, or the name of whoever has to agree, not `{text}`"
    if noun == "text" and text is not None:
        return f"must be text, and {text} is not in YAML; quote it: {json.dumps(text)}"
    if noun == "true or false" and text is not None and text.lower() in _YAML_1_1_BOOLEANS:
        meant = _YAML_1_1_BOOLEANS[text.lower()]
        return f"`{text}` is text in YAML 1.2, not a truth value; write {meant}"
    if text is not None and ":" in text and noun in ("a number", "a whole number"):
        return f"must be {noun}; `{text}` is text in YAML 1.2"
    return f"must be {noun}{_as_written(path, document)}"


def _as_written(path: Path, document: Document) -> str:
    mark = document.marks.get(path)
    if mark is None or not mark.text:
        return ""
    hidden = next((letter for letter in mark.text if not letter.isascii() and not letter.isprintable()), None)
    note = "" if hidden is None else f"; it has a U+{ord(hidden):04X}, which no one sees: write a usual space, or none"
    return f", not `{mark.text}`{note}"


_PATTERN_RULES = {
    "folder": "must be an absolute path such as /var/lib/pointsman/diffs",
    "account": "must be twelve digits in quotes",
    "sticky_by": "must be session, inference-id, none, header:<name> or prefix:<bytes>",
    "endpoint": "must be letters, digits and `-` between them, as SageMaker's EndpointName",
    "component": "must be letters, digits and `-` between them, as SageMaker's InferenceComponentName",
    "version": 'must be a number in quotes such as "1", or DRAFT',
    "region": "must be a region such as us-east-1",
    "regions": "must be a region such as us-east-1",
    "serve_from": "must be the name of a target",
    "goes_to": "must be the name of a target",
}


def _pattern_rule(path: Path) -> str:
    named = [part for part in path if isinstance(part, str)]
    return _PATTERN_RULES.get(named[-1], "must be printable ASCII text without spaces around it")
