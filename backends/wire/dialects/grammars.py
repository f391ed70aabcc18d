"""Constraints on the generated text: OpenAI's `response_format`, vLLM's `structured_outputs`, TGI's `grammar`.

A JSON schema and a regular expression exist in all that have any; what one has alone is refused for the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .asking import refusal
from .keys import OPENAI

_NAME = "answer"
"""OpenAI's formats want a name for a schema, TGI's have none."""


def write_grammar(client: str, target: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """The target's keys for what the client's keys say. Raises DialectError about the REQUEST."""
    if not said or (client in OPENAI and target in OPENAI):
        return dict(said)
    if len(said) > 1:
        raise refusal(next(iter(said)), f"stands beside `{list(said)[1]}`; keep one")
    ((name, value),) = said.items()
    if not isinstance(value, dict):
        raise refusal(name, "is not an object")
    kind, what = _tgi(value) if name == "grammar" else _openai(name, value)
    return _write(target, name, kind, what)


def _tgi(value: Mapping[str, Any]) -> tuple[str, Any]:
    kind, what = value.get("type"), value.get("value")
    if kind == "regex" and isinstance(what, str):
        return "regex", what
    if kind == "json" and isinstance(what, dict | str):
        return "schema", what
    if kind == "json_schema" and isinstance(what, dict) and "schema" in what:
        return "schema", what["schema"]
    raise refusal("grammar", "is neither a json, a json_schema nor a regex grammar")


def _openai(name: str, value: Mapping[str, Any]) -> tuple[str, Any]:
    if name == "response_format":
        kind, inner = value.get("type"), value.get("json_schema")
        if kind == "json_object":
            return "object", True
        if kind == "json_schema" and isinstance(inner, dict) and "schema" in inner:
            return "schema", inner["schema"]
        raise refusal(name, "is neither `json_schema` with a schema nor `json_object`")
    kinds = [kind for kind, what in value.items() if what not in (None, False)]
    if kinds == ["json"]:
        return "schema", value["json"]
    if kinds == ["regex"]:
        return "regex", value["regex"]
    if kinds == ["json_object"]:
        return "object", True
    raise refusal(name, "is something else than `json`, `json_object` or `regex`, which other dialects have not")


def _write(target: str, name: str, kind: str, what: Any) -> dict[str, Any]:
    if target == "tgi" and kind in ("schema", "regex"):
        return {"grammar": {"type": "json" if kind == "schema" else "regex", "value": what}}
    if target != "tgi" and kind == "schema":
        return {"response_format": {"type": "json_schema", "json_schema": {"name": _NAME, "schema": what}}}
    if target != "tgi" and kind == "object":
        return {"response_format": {"type": "json_object"}}
    if target in OPENAI and kind == "regex":
        return {"structured_outputs": {"regex": what}}
    raise refusal(name, f"asks for a constraint ({kind}) that {target} does not have")
