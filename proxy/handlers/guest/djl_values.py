"""Stands in for `djl_python`: `Input`, `Output`, and the default handlers, whose model is the policy's targets.

The methods are those of djl-serving 0.36's documented Python mode that deal with bytes, text and JSON, and have its
names and meanings. Images and arrays need Pillow and numpy, which the customer's requirements.txt may bring.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

from .generating import asking

JSON_TYPE = "application/json"


class PairList:
    """Keys with values, in order; a key may be None or come twice."""

    def __init__(self) -> None:
        self.keys: list[str | None] = []
        self.values: list[bytes] = []

    def add(self, key: str | None = None, value: bytes | None = None) -> None:
        if value is not None:
            self.keys.append(key)
            self.values.append(value)

    def size(self) -> int:
        return len(self.keys)

    def is_empty(self) -> bool:
        return not self.keys

    def get(self, key: str | None) -> bytes | None:
        return self.values[self.keys.index(key)] if key in self.keys else None

    def key_at(self, index: int) -> str | None:
        return self.keys[index]

    def value_at(self, index: int) -> bytes:
        return self.values[index]

    def get_keys(self) -> list[str | None]:
        return self.keys

    def get_values(self) -> list[bytes]:
        return self.values


class Input:
    """One request. Requests are never batched here, so that `get_batches` gives the request itself."""

    def __init__(self) -> None:
        self.function_name: str | None = None
        self.properties: dict[str, str] = {}
        self.content = PairList()

    def is_batch(self) -> bool:
        return False

    def get_batch_size(self) -> int:
        return 1

    def get_batches(self) -> list[Input]:
        return [self]

    def get_function_name(self) -> str | None:
        return self.function_name

    def get_properties(self) -> dict[str, str]:
        return self.properties

    def get_content(self) -> PairList:
        return self.content

    def get_property(self, key: str) -> str | None:
        return next((value for name, value in self.properties.items() if name.lower() == key.lower()), None)

    def contains_key(self, key: str) -> bool:
        return self.content.get(key) is not None

    def is_empty(self) -> bool:
        return self.content.is_empty()

    def get_as_bytes(self, key: str | None = None) -> bytes | None:
        if self.content.is_empty():
            return None
        if key:
            found = self.content.get(key)
            if found is None:
                message = f"the request has no {key}"
                raise KeyError(message)
            return found
        found = self.content.get("data")
        return self.content.value_at(0) if found is None else found

    def get_as_string(self, key: str | None = None) -> str:
        return bytes(self.get_as_bytes(key) or b"").decode()

    def get_as_json(self, key: str | None = None) -> Any:
        return json.loads(self.get_as_string(key))

    def get_as_csv(self, key: str | None = None) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.get_as_string(key))))

    def get_data(self, key: str | None = None) -> Any:
        """The content as its type says: JSON parsed, text as text, all else bytes."""
        kind = (self.get_property("content-type") or "").lower()
        if kind.startswith(JSON_TYPE):
            return self.get_as_json(key)
        return self.get_as_string(key) if kind.startswith("text/") else self.get_as_bytes(key)

    def get_as_image(self, key: str | None = None) -> Any:
        image = __import__("PIL.Image").Image
        return image.open(io.BytesIO(self.get_as_bytes(key) or b""))

    def get_as_npz(self, key: str | None = None) -> list[Any]:
        arrays = __import__("numpy").load(io.BytesIO(self.get_as_bytes(key) or b""))
        return [arrays[name] for name in arrays.files]

    def get_as_numpy(self, _key: str | None = None) -> Any:
        message = "get_as_numpy (DJL's own tensor format) has no stand-in; send JSON, or npz and get_as_npz"
        raise NotImplementedError(message)


class Output:
    """One answer; methods give the answer itself back, as djl_python's do."""

    def __init__(self, code: int = 200, message: str = "OK") -> None:
        self.code = code
        self.message = message
        self.properties: dict[str, str] = {}
        self.content = PairList()

    def set_code(self, code: int) -> Output:
        self.code = code
        return self

    def set_message(self, message: str) -> Output:
        self.message = message
        return self

    def error(self, error: str, code: int = 424, message: str = "invoke handler failure") -> Output:
        self.code, self.message = code, message
        self.add_property("content-type", JSON_TYPE)
        return self.add_as_json({"code": code, "message": message, "error": error})

    def add_property(self, key: str, val: str) -> Output:
        self.properties[key] = val
        return self

    def get_properties(self) -> dict[str, str]:
        return self.properties

    def get_property(self, key: str) -> str | None:
        return self.properties.get(key)

    def add(self, value: Any, key: str | None = None, batch_index: int | None = None) -> Output:
        if batch_index is not None:
            key = f"batch_{batch_index}.{key or ''}"
        if isinstance(value, str):
            value = value.encode()
        self.content.add(key, bytes(value) if isinstance(value, bytes | bytearray) else _encoded(value))
        return self

    def add_as_json(self, val: Any, key: str | None = None, batch_index: int | None = None) -> Output:
        return self.add(_encoded(val), key, batch_index)

    def add_as_npz(self, np_list: Any, key: str | None = None, batch_index: int | None = None) -> Output:
        memory = io.BytesIO()
        __import__("numpy").savez(memory, *np_list)
        return self.add(memory.getvalue(), key, batch_index)

    def add_as_numpy(self, *_arguments: Any, **_options: Any) -> Output:
        message = "add_as_numpy (DJL's own tensor format) has no stand-in; use add_as_npz or add_as_json"
        raise NotImplementedError(message)

    def add_stream_content(self, *_arguments: Any, **_options: Any) -> Output:
        message = "a handle cannot stream; stream from the model and change its events with `during` (docs/model-py.md)"
        raise NotImplementedError(message)

    def finalize(self, function: Callable[..., Any], *arguments: Any) -> Output:
        function(*arguments)
        return self


class HuggingFaceService:
    """djl_python's default service; the model it loads is the policy's targets."""

    def __init__(self) -> None:
        self.initialized = False

    def initialize(self, _properties: dict[str, str]) -> None:
        self.initialized = True

    def inference(self, inputs: Input) -> Output:
        return default_handle(inputs)


def default_handle(inputs: Input) -> Output:
    """Send the request's content to the route's targets and give their answer. DJL's empty call has none."""
    reply = asking().ask(inputs.get_as_bytes(), inputs.get_property("content-type"))
    return Output().add(reply.body).add_property("content-type", reply.content_type or JSON_TYPE)


async def _async_default_handle(inputs: Input) -> Output:
    return default_handle(inputs)


def _decode(inputs: Input, content_type: str | None = None, _key: str | None = None) -> Any:
    return inputs.get_as_json() if not content_type or content_type.startswith(JSON_TYPE) else inputs.get_data()


def _encode(outputs: Output, value: Any, accept: str | None = None, key: str | None = None) -> None:
    outputs.add_property("content-type", JSON_TYPE if accept in (None, "*/*") else accept)
    outputs.add(value, key)


def _whole(
    data: Any, properties: dict[str, str] | None = None, error: str | None = None, code: int | None = None
) -> Output:
    output = Output(code or 200)
    if error is not None:
        return output.error(error, code or 424)
    for key, value in {"content-type": JSON_TYPE, **(properties or {})}.items():
        output.add_property(key, value)
    return output.add(data)


def _streamed(*_arguments: Any, **_options: Any) -> Output:
    return Output().add_stream_content()


def _encoded(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def contents() -> dict[str, dict[str, Any]]:
    """Full module name -> what it has."""
    return {
        "djl_python": {"Input": Input, "Output": Output, "PairList": PairList},
        "djl_python.inputs": {"Input": Input},
        "djl_python.outputs": {"Output": Output},
        "djl_python.pair_list": {"PairList": PairList},
        "djl_python.encode_decode": {"decode": _decode, "encode": _encode},
        "djl_python.async_utils": {"create_non_stream_output": _whole, "handle_streaming_response": _streamed},
        "djl_python.huggingface": {"HuggingFaceService": HuggingFaceService, "handle": default_handle},
        "djl_python.lmi_vllm.vllm_async_service": {"handle": _async_default_handle},
    }
