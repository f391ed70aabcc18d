"""The control API, over HTTP."""

from __future__ import annotations

import json

import pytest

from tests.standins import Standin, config_of, emulator_in_thread, with_model

BODY = json.dumps({"messages": [{"role": "user", "content": "hi"}]})


def test_faults_are_set_read_and_taken_away(standin: Standin) -> None:
    """POST replaces and returns the old ones, GET lists, DELETE clears one model or all."""
    assert standin.control("POST", "faults", {"model": "echo", "faults": ["hang"]}) == (
        200,
        {"model": "echo", "were": []},
    )
    fault = {"name": "ModelError", "first": 2, "after": {"part": 3}}
    _, answer = standin.control("POST", "faults", {"model": "echo", "faults": [fault]})
    assert answer["were"] == [{"name": "hang"}]
    assert standin.control("GET", "faults")[1]["echo"] == [fault]
    assert standin.control("DELETE", "faults", {"model": "echo"})[1]["were"] == [fault]
    standin.set_faults("packed", "reset")
    assert standin.control("DELETE", "faults")[1]["packed"] == [{"name": "reset"}]
    assert all(faults == [] for faults in standin.control("GET", "faults")[1].values())


def test_the_clock_moves_and_stops(standin: Standin) -> None:
    """Advancing adds, freezing keeps real time out."""
    before = standin.control("POST", "clock", {"freeze": True})[1]
    assert before["frozen"]
    after = standin.control("POST", "clock", {"advance": "15m"})[1]
    assert after["now"] == before["now"] + 900
    assert standin.control("GET", "clock")[1] == after
    assert standin.control("POST", "clock", {"freeze": False})[1]["frozen"] is False


@pytest.mark.parametrize(
    ("method", "path", "value", "status", "said"),
    [
        ("POST", "faults", {"model": "who", "faults": []}, 404, "there is no 'who'; there are dedicated"),
        ("POST", "faults", {"model": "echo", "faults": ["nope"]}, 400, "unknown fault 'nope'"),
        ("POST", "faults", {"model": "echo", "fault": []}, 400, "send an object with faults, model"),
        ("POST", "faults", [], 400, "send an object"),
        ("POST", "clock", {"advance": "soon"}, 400, "advance: write a duration"),
        ("POST", "clock", {"advance": -1}, 400, "only moves forward"),
        ("POST", "clock", {"freeze": "yes"}, 400, "freeze: true stops"),
        ("POST", "ack", {"model": "echo", "part": 0}, 400, "a number from 1"),
        ("POST", "ack", {"model": "echo", "part": True}, 400, "a number from 1"),
        ("GET", "nothing", None, 404, "there are GET /_emulator, GET /_emulator/faults"),
        ("PUT", "clock", None, 404, "no PUT"),
    ],
)
def test_what_is_wrong_is_told_with_a_remedy(
    standin: Standin, method: str, path: str, value: object, status: int, said: str
) -> None:
    """A wrong request changes nothing and says what to send."""
    found, answer = standin.control(method, path, value)
    assert found == status
    assert said in answer["error"]


def test_what_is_not_json_is_told() -> None:
    """A typo on a command line gives a sentence, not a stack trace."""
    with emulator_in_thread() as standin:
        status, _, body = standin.http("POST", "/_emulator/clock", b"15m")
        assert status == 400
        assert b"not JSON" in body


def test_calls_models_and_ledger_tell_what_happened(standin: Standin) -> None:
    """One call is seen in all three."""
    client = standin.client("sagemaker-runtime")
    client.invoke_endpoint(EndpointName="dedicated", Body=BODY)["Body"].read()
    (call,) = standin.control("GET", "calls")[1]
    assert (call["model"], call["operation"], call["status"]) == ("dedicated", "InvokeEndpoint", 200)
    assert (call["signature"], call["size"], call["finished"]) == ("ok", len(BODY), "answered")
    assert standin.control("GET", "ledger")[1]["dedicated"]["calls"] == 1
    assert standin.control("GET", "models")[1]["dedicated"]["state"] == "ready"
    assert standin.control("DELETE", "calls") == (200, None)
    assert standin.control("GET", "calls")[1] == []
    assert standin.control("GET", "")[1]["stand_in"] is True


def test_acknowledging_lets_the_next_part_out() -> None:
    """A stream that is not acknowledged stands still; each acknowledgement lets exactly one part through."""
    with emulator_in_thread(config_of(with_model("dedicated", acknowledged=True))) as standin:
        body = json.dumps({**json.loads(BODY), "stream": True, "max_tokens": 3})
        client = standin.client("sagemaker-runtime")
        answer = client.invoke_endpoint_with_response_stream(EndpointName="dedicated", Body=body)
        for number, _ in enumerate(answer["Body"], start=1):
            (call,) = standin.control("GET", "calls")[1]
            assert call["parts"] == number
            status, reached = standin.control("POST", "ack", {"model": "dedicated", "part": number})
            assert status == 200
            assert reached == {"streams": 1} or number == 5
        assert number == 5
