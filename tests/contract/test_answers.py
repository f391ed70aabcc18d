"""What clients get when all goes well, from every kind of hosting: bodies, streams, headers, bytes."""

from __future__ import annotations

import hashlib
import json
import random

import pytest

from .clients import Answer
from .conftest import GetClient
from .hosting import Hosting, chat, deltas

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300, func_only=True)]


def assert_served(answer: Answer) -> None:
    """No error, and the proxy says by which target and policy it was served."""
    assert answer.error is None
    if answer.headers is not None:
        assert answer.status == 200
        assert answer.headers["x-amzn-requestid"]
        assert answer.headers["x-pointsman-target"]
        assert answer.headers["x-pointsman-attempts"] == "1"


def test_plain_body_on_the_blocking_operation_is_one_json_answer(
    client_name: str, hosting: Hosting, get_client: GetClient
) -> None:
    """The first of the four cells."""
    answer = get_client(client_name, hosting.proxy).call(hosting.ask(), chat(tokens=5))
    assert_served(answer)
    document = json.loads(answer.body)
    assert document["choices"][0]["message"]["role"] == "assistant"
    assert document["usage"]["completion_tokens"] == 5
    assert answer.members["ContentType"].startswith("application/json")
    assert answer.members["InvokedProductionVariant"] == "AllTraffic"


def test_streaming_body_on_the_blocking_operation_is_one_body_of_events(
    client_name: str, hosting: Hosting, get_client: GetClient
) -> None:
    """The second: the body's word makes the model stream, and the blocking operation hands all of it over at once."""
    answer = get_client(client_name, hosting.proxy).call(hosting.ask(), chat(stream=True))
    assert_served(answer)
    assert answer.members["ContentType"].startswith("text/event-stream")
    events = tuple(event + b"\n\n" for event in answer.body.removesuffix(b"\n\n").split(b"\n\n"))
    assert "".join(deltas(events))


def test_plain_body_on_the_streaming_operation_is_json_in_parts(
    streaming_name: str, hosting: Hosting, get_client: GetClient
) -> None:
    """The third: the URL changes the framing and nothing else."""
    answer = get_client(streaming_name, hosting.proxy).call(hosting.ask(), chat(tokens=5), stream=True)
    assert_served(answer)
    assert answer.began
    assert json.loads(answer.joined)["usage"]["completion_tokens"] == 5
    assert answer.members["ContentType"].startswith("application/json")


def test_streaming_body_on_the_streaming_operation_is_one_event_a_part(
    streaming_name: str, hosting: Hosting, get_client: GetClient
) -> None:
    """The fourth: clients that parse each part by itself lose no token, and the end mark comes last."""
    answer = get_client(streaming_name, hosting.proxy).call(hosting.ask(), chat(stream=True), stream=True)
    assert_served(answer)
    assert "".join(deltas(answer.parts))
    assert answer.members["ContentType"].startswith("text/event-stream")
    assert answer.members["InvokedProductionVariant"] == "AllTraffic"


def test_same_model_says_the_same_wherever_it_is_hosted(standin_hosting: Hosting, get_client: GetClient) -> None:
    """An import's stream of JSON objects comes out as the events that the same model behind an endpoint sends."""
    client = get_client("boto3-newest", standin_hosting.proxy)
    here = client.call(standin_hosting.ask(), chat(stream=True, tokens=9), stream=True)
    there = client.call(
        {"EndpointName": "dedicated", "ContentType": "application/json"}, chat(stream=True, tokens=9), stream=True
    )
    assert [comparable(part) for part in here.parts] == [comparable(part) for part in there.parts]


def comparable(part: bytes) -> object:
    """An event without what differs between two answers of one model: id, time, and the name it is served under."""
    if part == b"data: [DONE]\n\n":
        return part
    document = json.loads(part.removeprefix(b"data: "))
    return {key: value for key, value in document.items() if key not in ("id", "created", "model")}


@pytest.mark.parametrize(
    "params", [{"EndpointName": "echo"}, {"EndpointName": "host", "InferenceComponentName": "echo-component"}]
)
@pytest.mark.parametrize("size", [0, 1, 65_537, 3_000_000])
def test_opaque_bytes_come_back_as_they_went(
    client_name: str, dedicated: Hosting, get_client: GetClient, params: dict[str, str], size: int
) -> None:
    """No byte of a body that nobody needs to read is changed in either direction, and its type is the client's own."""
    if client_name == "awscli" and size == 0:
        size = 2  # an empty file is no body to the command, and a body is required
    body = random.Random(size).randbytes(size)
    answer = get_client(client_name, dedicated.proxy).call(
        {**params, "ContentType": "application/x-anything; a=1"}, body
    )
    assert_served(answer)
    assert answer.body == body
    assert answer.members["ContentType"] == "application/x-anything; a=1"
    assert [call["sha256"] for call in dedicated.calls()] == [hashlib.sha256(body).hexdigest()]


def test_opaque_bytes_stream_as_they_went(streaming_name: str, dedicated: Hosting, get_client: GetClient) -> None:
    """A body of an unknown type passes the streaming operation unchanged as well, however it is cut."""
    body = random.Random(1).randbytes(300_000)
    answer = get_client(streaming_name, dedicated.proxy).call({"EndpointName": "echo"}, body, stream=True)
    assert_served(answer)
    assert answer.joined == body


def test_json_lines_are_one_line_a_part(streaming_name: str, dedicated: Hosting, get_client: GetClient) -> None:
    """LMI containers stream JSON lines; each part is exactly one of them."""
    body = json.dumps({"inputs": "Which track?", "parameters": {"max_new_tokens": 5}, "stream": True}).encode()
    dedicated.control("POST", "faults", {"model": "lines", "faults": ["two-events-in-one-part"]})
    params = {"EndpointName": "lines", "ContentType": "application/json"}
    answer = get_client(streaming_name, dedicated.proxy).call(params, body, stream=True)
    assert_served(answer)
    assert len(answer.parts) == 5
    assert all(part.endswith(b"\n") and part.count(b"\n") == 1 and json.loads(part) for part in answer.parts)


@pytest.mark.parametrize("fault", ["two-events-in-one-part", "one-event-over-two-parts"])
@pytest.mark.parametrize("name", ["dedicated", "engine"])
def test_badly_cut_streams_are_cut_anew(
    streaming_name: str, name: str, dedicated: Hosting, get_client: GetClient, fault: str
) -> None:
    """However the upstream cuts its stream, one event is one part, and the words are the same."""
    client = get_client(streaming_name, dedicated.proxy)
    params = {"EndpointName": name, "ContentType": "application/json"}
    well_cut = client.call(params, chat(stream=True, tokens=8), stream=True)
    dedicated.control("POST", "faults", {"model": name, "faults": [fault]})
    badly_cut = client.call(params, chat(stream=True, tokens=8), stream=True)
    assert_served(badly_cut)
    assert deltas(badly_cut.parts) == deltas(well_cut.parts)


@pytest.mark.parametrize("name", ["dedicated", "engine"])
def test_character_cut_in_two_is_whole_in_its_part(
    streaming_name: str, name: str, dedicated: Hosting, get_client: GetClient
) -> None:
    """Some clients decode each part by itself: a character that came in two pieces is in one part again."""
    dedicated.control("POST", "faults", {"model": name, "faults": ["split-utf8"]})
    params = {"EndpointName": name, "ContentType": "application/json"}
    answer = get_client(streaming_name, dedicated.proxy).call(params, chat(stream=True, tokens=8), stream=True)
    assert_served(answer)
    assert "naïve" in "".join(deltas(answer.parts))


def test_each_part_arrives_before_the_next_is_made(
    streaming_name: str, standin_hosting: Hosting, get_client: GetClient
) -> None:
    """A stream is a stream: the model sends part n+1 only when the client has shown part n, so nothing is held back."""
    standin_hosting.fail({"name": "acknowledged"})
    news = get_client(streaming_name, standin_hosting.proxy).follow(standin_hosting.ask(), chat(stream=True, tokens=4))
    shown = 0
    for each in news:
        if isinstance(each, bytes):
            shown += 1
            standin_hosting.control("POST", "ack", {"model": standin_hosting.name, "part": shown})
        elif isinstance(each, Answer):
            assert each.error is None
    assert shown >= 5
