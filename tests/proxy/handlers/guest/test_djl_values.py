"""The stand-in for djl_python: reading an input, filling an output."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.handlers.guest.djl_values import HuggingFaceService, Input, Output, PairList, contents
from proxy.handlers.guest.generating import NotYet


def given(body: bytes, kind: str | None = None) -> Input:
    made = Input()
    made.content.add("data", body)
    if kind is not None:
        made.properties["Content-Type"] = kind
    return made


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("application/json; charset=utf-8", {"a": 1}),
        ("text/plain", '{"a":1}'),
        ("image/png", b'{"a":1}'),
        (None, b'{"a":1}'),
    ],
)
def test_data_is_read_as_its_type_says(kind: str | None, expected: Any) -> None:
    """JSON is parsed, text is text, all else bytes."""
    assert given(b'{"a":1}', kind).get_data() == expected


def test_input_of_one_request() -> None:
    """There are no batches: a handler that takes them apart gets its request back."""
    one = given(b"a,b\n1,2\n", "text/csv")
    assert (one.get_batches(), one.is_batch(), one.get_batch_size()) == ([one], False, 1)
    assert (one.get_as_csv(), one.get_as_string()) == ([{"a": "1", "b": "2"}], "a,b\n1,2\n")
    assert one.get_property("content-type") == "text/csv"
    assert (one.contains_key("data"), one.contains_key("x"), one.get_as_bytes("data")) == (True, False, b"a,b\n1,2\n")
    assert (one.get_function_name(), one.get_properties(), one.get_content().size()) == (None, one.properties, 1)
    with pytest.raises(KeyError):
        one.get_as_bytes("x")


def test_empty_input() -> None:
    """DJL's call at load has no content."""
    assert Input().is_empty()
    assert Input().get_as_bytes() is None


def test_pairs_keep_their_order() -> None:
    """Keys may be None, and come twice; None as a value is left out."""
    pairs = PairList()
    pairs.add(None, b"1")
    pairs.add("k", b"2")
    pairs.add("k", None)
    assert (pairs.get_keys(), pairs.get_values(), pairs.key_at(1), pairs.value_at(0)) == (
        [None, "k"],
        [b"1", b"2"],
        "k",
        b"1",
    )
    assert pairs.get("none") is None


def test_output_is_filled_step_by_step() -> None:
    """Methods give the output back; the first content is the body."""
    output = Output().set_code(201).set_message("made").add_property("content-type", "a/b").add("é")
    output.add(bytearray(b"x"), key="k").add({"a": 1}, batch_index=0).add_as_json([1])
    assert output.content.get_values() == ["é".encode(), b"x", b'{"a":1}', b"[1]"]
    assert output.content.get_keys() == [None, "k", "batch_0.", None]
    assert (output.code, output.message, output.get_property("content-type")) == (201, "made", "a/b")
    assert output.get_properties() == {"content-type": "a/b"}


def test_error_output() -> None:
    """DJL's own shape of an error, 424 unless said otherwise."""
    output = Output().error("bad", 400)
    assert (output.code, json.loads(output.content.value_at(0))["error"]) == (400, "bad")


def test_finalize_runs() -> None:
    """A function that DJL would run after sending runs."""
    done: list[int] = []
    Output().finalize(done.append, 1)
    assert done == [1]


@pytest.mark.parametrize(
    "call",
    [lambda: Output().add_stream_content(iter(())), lambda: Output().add_as_numpy([]), lambda: Input().get_as_numpy()],
)
def test_what_has_no_stand_in_says_so(call: Any) -> None:
    """The error names what to use instead."""
    with pytest.raises(NotImplementedError):
        call()


def test_images_and_arrays_need_the_customers_packages() -> None:
    """Pillow and numpy are asked for only when they are used."""
    for use in (given(b"x").get_as_image, given(b"x").get_as_npz, lambda: Output().add_as_npz([])):
        with pytest.raises(ImportError):
            use()


def test_functions_of_the_documentation() -> None:
    """decode, encode and create_non_stream_output do what DJL's do."""
    functions = contents()
    decode, encode = functions["djl_python.encode_decode"]["decode"], functions["djl_python.encode_decode"]["encode"]
    assert decode(given(b'{"a":1}'), None) == {"a": 1}
    assert decode(given(b"x", "text/plain"), "text/plain") == "x"
    output = Output()
    encode(output, {"a": 1}, "*/*")
    assert (output.content.value_at(0), output.get_property("content-type")) == (b'{"a":1}', "application/json")
    whole = functions["djl_python.async_utils"]["create_non_stream_output"]
    assert whole({"a": 1}, {"x": "y"}).properties == {"content-type": "application/json", "x": "y"}
    assert whole("", error="bad").code == 424
    with pytest.raises(NotImplementedError):
        functions["djl_python.async_utils"]["handle_streaming_response"]()


async def test_default_handlers_need_a_request() -> None:
    """At load there is no model to ask; DJL's defaults say so in a way that loading forgives."""
    service = HuggingFaceService()
    service.initialize({})
    assert service.initialized
    with pytest.raises(NotYet):
        service.inference(given(b"x"))
    with pytest.raises(NotYet):
        await contents()["djl_python.lmi_vllm.vllm_async_service"]["handle"](given(b"x"))
