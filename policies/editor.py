"""The policy's JSON Schema (draft 2020-12), for editors and for naming the key that was meant.

It describes what a person writes: a key is left out rather than null, and a text may hold `${VAR}` where its pattern
would not allow it. The loader is stricter: it also checks names, boundaries and ARNs against each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from .errors import Path
from .schema import Policy

Schema = Mapping[str, Any]
"""A JSON Schema: JSON, of any shape."""


class _Generator(GenerateJsonSchema):
    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        # pydantic says patternProperties, under which a name that breaks the pattern goes unchecked.
        block: JsonSchemaValue = {
            "type": "object",
            "additionalProperties": self.generate_inner(schema["values_schema"]),
        }
        names = self.generate_inner(schema["keys_schema"])
        if "min_length" in schema:
            block["minProperties"] = schema["min_length"]
        return block | {"propertyNames": names}

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def json_schema() -> dict[str, Any]:
    """The whole schema, as `pointsman schema` prints it."""
    schema = Policy.model_json_schema(by_alias=True, schema_generator=_Generator)
    _allow_references(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def known_keys(schema: Schema, path: Path, data: object) -> tuple[str, ...]:
    """The keys that the block at `path` of `data` may have, sorted; none where the schema knows no block there."""
    node = _follow(schema, schema, data)
    for part in path:
        data = _child(data, part)
        if isinstance(part, int):
            node = node.get("items", {})
        else:
            node = node.get("properties", {}).get(part) or node.get("additionalProperties") or {}
        node = _follow(schema, node, data)
    return tuple(sorted(node.get("properties", ())))


def _child(data: object, part: str | int) -> object:
    if isinstance(data, dict):
        return data.get(part)
    return data[part] if isinstance(data, list) and isinstance(part, int) and part < len(data) else None


def _follow(schema: Schema, node: Schema, data: object) -> Schema:
    """The block that `node` refers to; of several kinds of target, the one that `data` names."""
    if "oneOf" in node:
        kind = _child(data, "kind")
        choices = (_follow(schema, choice, data) for choice in node["oneOf"])
        return next((one for one in choices if one["properties"]["kind"]["const"] == kind), {})
    if "anyOf" in node and isinstance(data, dict):  # a word or a block
        return next((_follow(schema, choice, data) for choice in node["anyOf"] if "$ref" in choice), {})
    if "$ref" in node:
        reference: str = node["$ref"]
        return _follow(schema, schema["$defs"][reference.rpartition("/")[2]], data)
    return node


def _allow_references(node: object) -> None:
    """Let every text with a pattern also hold `${`; names are keys, which are never interpolated."""
    if isinstance(node, dict):
        if isinstance(node.get("pattern"), str):
            node["pattern"] += r"|\$\{"
        for key, child in node.items():
            if key != "propertyNames":
                _allow_references(child)
    elif isinstance(node, list):
        for child in node:
            _allow_references(child)
