"""The kit against right servers, and against servers that are wrong in one way each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from backends.wire.sigv4 import Credentials
from proxy.cli.conformance import signing
from proxy.conformance import CHECKS, Result, Subject, chosen, examine, read_origin, sample
from proxy.conformance.wire import Exchange
from tests.standins import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, Standin, config_of, running_emulator

from .wrong import Asked, Mistake, without, wrong_server


@pytest.fixture
async def standin() -> AsyncIterator[Standin]:
    """The stand-ins, with signatures unchecked, so that a server may stand before them."""
    async with running_emulator(config_of(signatures="off")) as running:
        yield running


async def results(
    url: str, *, endpoint: str = "dedicated", component: str | None = None, **more: object
) -> dict[str, Result]:
    """The result of every check by its name."""
    sign = signing(Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY), REGION) if more.get("sign") else None
    subject = Subject(read_origin(url), endpoint, component, sample("openai-chat"), sign, 10.0)
    return {finding.check.name: finding.result async for finding in examine(subject, CHECKS)}


def failed(found: dict[str, Result]) -> set[str]:
    return {name for name, result in found.items() if result is Result.FAILED}


@pytest.mark.parametrize(("endpoint", "component"), [("dedicated", None), ("shared", "packed")])
async def test_stand_in_keeps_the_contract(endpoint: str, component: str | None) -> None:
    """The stand-in passes every check, signed, with a component and without; nothing is unverifiable."""
    async with running_emulator() as standin:
        found = await results(standin.url, endpoint=endpoint, component=component, sign=True)
    assert failed(found) == set()
    assert Result.UNVERIFIABLE not in found.values()


async def test_server_that_passes_on_what_is_right_is_right(standin: Standin) -> None:
    """The wrong servers below are wrong only in what they change."""
    async with wrong_server(standin.url, lambda _asked, answer: answer) as url:
        assert failed(await results(url)) <= {"http2-preface", "pipelined"}


def bad_crc(asked: Asked, answer: Exchange) -> Exchange:
    """The last byte of a stream, which is one of a checksum, is another."""
    if not asked.streams or answer.status != 200:
        return answer
    return replace(answer, body=answer.body[:-1] + bytes([answer.body[-1] ^ 1]))


def half_a_frame(asked: Asked, answer: Exchange) -> Exchange:
    """A stream ends inside a frame, and its HTTP body cleanly."""
    return replace(answer, body=answer.body[:-5]) if asked.streams and answer.status == 200 else answer


def early_end(asked: Asked, answer: Exchange) -> Exchange:
    """A stream loses its last frame and ends as if nothing had happened."""
    if not asked.streams or b"[DONE]" not in answer.body:
        return answer
    last = answer.body.rindex(b":event-type") - 13
    return replace(answer, body=answer.body[:last])


def lower_case_message(_asked: Asked, answer: Exchange) -> Exchange:
    """Errors say `message`."""
    return replace(answer, body=answer.body.replace(b'"Message"', b'"message"'))


def no_error_type(_asked: Asked, answer: Exchange) -> Exchange:
    """Errors have no x-amzn-ErrorType, but one in the body, as some services do."""
    kind = answer.header("x-amzn-errortype")
    if kind is None or not answer.body.startswith(b"{"):
        return answer
    body = b'{"__type":"' + kind.encode() + b'",' + answer.body[1:]
    return replace(without(answer, "x-amzn-errortype"), body=body)


def no_request_id(_asked: Asked, answer: Exchange) -> Exchange:
    return without(answer, "x-amzn-requestid")


def no_variant(_asked: Asked, answer: Exchange) -> Exchange:
    return without(answer, "x-amzn-invoked-production-variant")


def deaf_to_lower_case(asked: Asked, answer: Exchange) -> Exchange | None:
    """Requests in which every header name is in lower case get no answer at all."""
    return None if asked.names == asked.names.lower() else answer


WRONG: list[tuple[Mistake, set[str]]] = [
    (bad_crc, {"stream-frames"}),
    (half_a_frame, {"stream-frames"}),
    (early_end, {"stream-complete"}),
    (lower_case_message, {"error-message"}),
    (no_error_type, {"error-type"}),
    (no_request_id, {"unary-request-id", "stream-head", "error-head"}),
    (no_variant, {"unary-variant", "stream-head"}),
    (deaf_to_lower_case, {"header-lower-case"}),
]


@pytest.mark.parametrize(("mistake", "named"), WRONG, ids=[mistake.__name__ for mistake, _ in WRONG])
async def test_mistake_fails_the_check_that_is_about_it(standin: Standin, mistake: Mistake, named: set[str]) -> None:
    """The check that names the mistake fails, and no other one does."""
    async with wrong_server(standin.url, mistake) as url:
        found = failed(await results(url)) - {"http2-preface", "pipelined"}
    assert found == named


async def test_server_that_is_not_there_fails_everything_it_is_asked() -> None:
    """No check passes for want of an answer."""
    found = await results("http://127.0.0.1:1")
    assert Result.PASSED not in found.values()


def test_names_are_unique_and_can_be_chosen() -> None:
    """A pattern chooses by name; without one all run."""
    names = [check.name for check in CHECKS]
    assert len(names) == len(set(names))
    assert [check.name for check in chosen(["stream-f*"])] == ["stream-frames", "stream-frame-headers"]
    assert chosen([]) == list(CHECKS)
    assert chosen(["nothing"]) == []
