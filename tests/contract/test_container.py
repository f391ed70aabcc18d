"""The proxy as a SageMaker container: client -> platform -> our container -> target, beside client -> target.

The container is the process that an image's `serve` starts, with nothing but the platform's variable and a policy, and
with no file that it could write. The platform is the stand-in's, which wraps and strips as SageMaker does.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EventStreamError

from backends.emulator.aws import SAGEMAKER, modelled_errors, stream_errors_of
from tests.standins import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Standin, config_of, emulator_in_thread

from .hosting import COLD, MODELS, chat, deltas, policy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300, func_only=True)]

PAGE = Path(__file__).parents[2] / "docs" / "topologies.md"


@contextmanager
def container(folder: Path, text: str, *words: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`pointsman serve` as SageMaker starts it, on a free port, with `text` as its policy; and that port."""
    path = folder / "policy.yaml"
    path.write_text(text)
    variables = {
        "PATH": os.environ["PATH"],
        "SAGEMAKER_BIND_TO_PORT": "0",
        "POINTSMAN_POLICY": str(path),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
    }
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "pointsman"), "serve", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd="/",
        env=variables,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )
    bound = threading.Timer(120, process.kill)
    bound.start()
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        bound.cancel()
        assert (ready["host"], ready["admin_port"]) == ("0.0.0.0", None)
        reading = threading.Thread(target=process.stdout.read, name="log")
        reading.start()
        yield process, ready["port"]
        process.terminate()
        process.wait(60)
        reading.join(60)
    finally:
        bound.cancel()
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@dataclass(frozen=True)
class Chain:
    """The targets by themselves, and the platform with our container in between."""

    targets: Standin
    platform: Standin
    port: int

    def fail(self, *faults: Mapping[str, Any]) -> None:
        """Make both targets fail so, until told otherwise."""
        for name in ("dedicated", "packed", "dedicated-cold", "packed-cold", "engine"):
            if name != "engine" or all(fault["name"] in ENGINE_FAULTS for fault in faults):
                self.targets.control("POST", "faults", {"model": name, "faults": list(faults)})


ENGINE_FAULTS = {"engine-error"}


@pytest.fixture(scope="module")
def targets() -> Iterator[Standin]:
    """What the policy's targets are."""
    with emulator_in_thread(config_of(MODELS)) as running:
        yield running


@pytest.fixture(scope="module")
def links(targets: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """One container for every route of the policy, which an item of CustomAttributes names."""
    text = json.loads(policy(targets.url))
    text["endpoints"]["impatient"] = {**text["endpoints"]["dedicated"], "timeout": "2s"}
    folder = tmp_path_factory.mktemp("container")
    with container(folder, json.dumps(text), "--endpoint-attribute", "route") as (_, port):
        platform = {"inside": {"kind": "endpoint", "container": {"url": f"http://127.0.0.1:{port}"}}}
        with emulator_in_thread(config_of(platform)) as running:
            yield Chain(targets, running, port)


@pytest.fixture
def chain(links: Chain) -> Iterator[Chain]:
    """The same with nothing failing."""
    links.targets.control("DELETE", "faults")
    yield links
    links.targets.control("DELETE", "faults")


DIRECT: Mapping[str, Mapping[str, str]] = {
    "dedicated": {"EndpointName": "dedicated"},
    "host/packed": {"EndpointName": "host", "InferenceComponentName": "packed"},
    "echo": {"EndpointName": "echo"},
}


def inside(route: str) -> dict[str, str]:
    """How a client says which route it means, at the endpoint whose container we are."""
    return {"EndpointName": "inside", "CustomAttributes": f"route={route}"}


def invoke(standin: Standin, params: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """InvokeEndpoint: members of the answer or of the error."""
    try:
        found = standin.client("sagemaker-runtime").invoke_endpoint(
            **{"ContentType": "application/json", **params}, Body=body
        )
    except ClientError as error:
        return dict(error.response)
    return {**found, "Body": found["Body"].read()}


def stream(standin: Standin, params: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """InvokeEndpointWithResponseStream: the same, with the parts and what ended them."""
    try:
        found = standin.client("sagemaker-runtime").invoke_endpoint_with_response_stream(
            **{"ContentType": "application/json", **params}, Body=body
        )
    except ClientError as error:
        return dict(error.response)
    parts: list[bytes] = []
    with closing(found["Body"]) as events:
        try:
            parts.extend(event["PayloadPart"]["Bytes"] for event in events)
        except EventStreamError as error:
            return {**found, "parts": parts, "Error": error.response["Error"]}
    return {**found, "parts": parts}


@pytest.mark.parametrize("route", ["dedicated", "host/packed"])
@pytest.mark.parametrize("asks", [True, False])
def test_answers_are_the_targets_own(chain: Chain, route: str, asks: bool) -> None:
    """All four cells: the same words, the same type, the same variant, one event a part."""
    body = chat(stream=asks, tokens=5)
    for call in (invoke, stream):
        direct, via = call(chain.targets, DIRECT[route], body), call(chain.platform, inside(route), body)
        assert via["ContentType"] == direct["ContentType"]
        assert via["InvokedProductionVariant"] == direct["InvokedProductionVariant"] == "AllTraffic"
        assert said(via) == said(direct)
        if call is stream and asks:
            assert [part.count(b"\n\n") for part in via["parts"]] == [1] * len(direct["parts"])


def said(answer: Mapping[str, Any]) -> object:
    """The words of an answer, however it came."""
    body = b"".join(answer["parts"]) if "parts" in answer else answer["Body"]
    if body.startswith(b"data: "):
        return "".join(deltas(tuple(event + b"\n\n" for event in body.removesuffix(b"\n\n").split(b"\n\n"))))
    return json.loads(body)["choices"][0]["message"]["content"]


def test_opaque_bytes_and_their_type_pass(chain: Chain) -> None:
    """Also a body that is no JSON, and attributes that the model sets."""
    body = bytes(range(256)) * 400
    params = {**inside("echo"), "ContentType": "application/x-anything"}
    found = invoke(chain.platform, params, body)
    assert (found["Body"], found["ContentType"]) == (body, "application/x-anything")
    assert found["CustomAttributes"] == "route=echo"


@pytest.mark.parametrize("status", [400, 404, 413, 422, 424, 429, 500, 503])
@pytest.mark.parametrize("route", ["dedicated", "host/packed"])
@pytest.mark.parametrize("call", [invoke, stream])
def test_a_models_error_is_the_same_in_every_member(chain: Chain, status: int, route: str, call: Any) -> None:
    """Status, text, code and type are what the client would have got from the target itself."""
    chain.fail({"name": "ModelError", "original_status_code": status, "original_message": '{"error": "it said so"}'})
    direct, via = call(chain.targets, DIRECT[route], chat()), call(chain.platform, inside(route), chat())
    assert (via["Error"]["Code"], via["ResponseMetadata"]["HTTPStatusCode"]) == ("ModelError", 424)
    members = ("OriginalStatusCode", "OriginalMessage", "ErrorCode")
    assert {name: via.get(name) for name in members} == {name: direct.get(name) for name in members}
    assert via["Error"]["Message"].partition(". See ")[0] == direct["Error"]["Message"].partition(". See ")[0]


def test_an_engines_error_reaches_the_client_raw(chain: Chain) -> None:
    """What vLLM answers is the OriginalMessage, byte for byte, as it is when vLLM is the container."""
    chain.targets.control("POST", "faults", {"model": "engine", "faults": [{"name": "engine-error", "status": 400}]})
    _, _, raw = chain.targets.http("POST", "/_engine/engine/invocations", chat(), {"Content-Type": "application/json"})
    found = invoke(chain.platform, inside("engine"), chat())
    assert (found["OriginalStatusCode"], found["OriginalMessage"]) == (400, raw.decode())


INSTEAD: Mapping[str, tuple[Mapping[str, Any], int, str]] = {
    "ModelError, OriginalStatusCode 0": ({"name": "model-timeout"}, 504, "Your invocation timed out while waiting"),
    "no answer in time": ({"name": "hang"}, 504, "Your invocation timed out while waiting"),
    "ModelNotReadyException": ({"name": "ModelNotReadyException"}, 429, "Model is not ready"),
    "ThrottlingException": ({"name": "ThrottlingException"}, 429, "Rate exceeded"),
    "InternalFailure": ({"name": "InternalFailure"}, 500, "internal failure"),
    "ServiceUnavailable": ({"name": "ServiceUnavailable"}, 503, "temporarily unavailable"),
    "InternalDependencyException": ({"name": "InternalDependencyException"}, 530, "depends on"),
    "ValidationError": ({"name": "ValidationError", "message": "it said so"}, 400, "it said so"),
    "AccessDeniedException": ({"name": "AccessDeniedException"}, 500, "internal failure"),
    "connection lost": ({"name": "reset"}, 502, "lost"),
}
"""What no container can say, a 424 always: error of the target -> fault, OriginalStatusCode, part of the text."""


@pytest.mark.parametrize("case", INSTEAD)
def test_what_no_container_can_say_is_a_424_that_tells_it(chain: Chain, case: str) -> None:
    """The status and text that the client would have got, inside a ModelError; on both operations."""
    fault, status, text = INSTEAD[case]
    chain.fail(fault)
    route = "dedicated-cold" if fault["name"] in COLD else "impatient" if fault["name"] == "hang" else "dedicated"
    for call in (invoke, stream):
        found = call(chain.platform, inside(route), chat())
        assert (found["Error"]["Code"], found["ResponseMetadata"]["HTTPStatusCode"]) == ("ModelError", 424)
        assert found["OriginalStatusCode"] == status
        assert text in found["OriginalMessage"]


def test_the_platforms_own_deadline_is_told_as_of_the_models_own_endpoint(tmp_path: Path) -> None:
    """A model that takes too long: with the container in between the client is told by the platform, word for word.

    The limit is seven seconds instead of sixty. The container is told eight: it is done after six, says nothing until
    nine, and so leaves two for a machine that has much to do.
    """
    members = ("OriginalStatusCode", "OriginalMessage", "ErrorCode")
    with emulator_in_thread(config_of(MODELS)) as targets, ExitStack() as stack:
        text = json.loads(policy(targets.url))
        text["endpoints"] = {"dedicated": text["endpoints"]["dedicated"]}
        _, port = stack.enter_context(container(tmp_path, json.dumps(text), "--platform-time", "8"))
        inner = {"dedicated": {"kind": "endpoint", "container": {"url": f"http://127.0.0.1:{port}"}}}
        platform = stack.enter_context(emulator_in_thread(config_of(inner, limits={"unary": 7})))
        told = []
        for standin, fault in ((targets, "model-timeout"), (platform, "hang")):
            targets.control("DELETE", "faults")
            targets.control("POST", "faults", {"model": "dedicated", "faults": [{"name": fault}]})
            told.append(invoke(standin, DIRECT["dedicated"], chat()))
        direct, via = told
        assert (via["Error"], via["OriginalStatusCode"]) == (direct["Error"], 0)
        assert {name: via.get(name) for name in members} == {name: direct.get(name) for name in members}
        while targets.control("GET", "models")[1]["dedicated"]["in_flight"]:  # the container has let it go, or will
            pass


def test_a_component_without_copies_keeps_the_text_that_clients_match(chain: Chain) -> None:
    """The status is the direct answer's 400."""
    chain.fail({"name": "no-capacity"})
    found = invoke(chain.platform, inside("host/packed-cold"), chat())
    assert found["OriginalStatusCode"] == 400
    assert "Inference Component has no capacity to process this request." in found["Error"]["Message"]


IN_STREAM: tuple[Mapping[str, Any], ...] = (
    {"name": "ModelStreamError", "after": {"part": 2}},
    {"name": "InternalStreamFailure", "after": {"part": 2}},
    {"name": "cut-stream", "after": {"part": 2}},
    {"name": "bad-crc", "after": {"part": 2}},
)


@pytest.mark.parametrize("fault", IN_STREAM, ids=lambda fault: str(fault["name"]))
def test_a_stream_that_breaks_ends_typed_after_what_came(chain: Chain, fault: Mapping[str, Any]) -> None:
    """Whatever broke it, the platform says ModelStreamError; no part is half an event."""
    chain.fail(fault)
    found = stream(chain.platform, inside("dedicated"), chat(stream=True, tokens=8))
    assert found["Error"]["Code"] == "ModelStreamError"
    assert all(part.endswith(b"\n\n") for part in found["parts"])
    assert len(found["parts"]) <= 2


def test_every_modelled_error_is_covered() -> None:
    """A new error of the service's model has to be thought of here."""
    faults = {str(fault["name"]) for fault, _, _ in INSTEAD.values()} | {"ModelError"}
    assert set(modelled_errors(SAGEMAKER)) <= faults
    assert set(stream_errors_of(SAGEMAKER)) <= {fault["name"] for fault in IN_STREAM}


def test_the_page_has_the_table() -> None:
    """docs/topologies.md says of each error that no container can tell what the client gets instead."""
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    told = [tuple(cell.strip(" `") for cell in row.strip("|").split("|")) for row in rows]
    assert [
        case for case, (_, status, _) in INSTEAD.items() if (case, str(status)) not in {row[:2] for row in told}
    ] == []


def test_a_term_signal_lets_requests_end_and_ends_within_the_platforms_time(targets: Standin, tmp_path: Path) -> None:
    """New connections are refused at once, the request in flight gets its answer, and the process ends with 0."""
    targets.control("DELETE", "faults")
    targets.control("POST", "faults", {"model": "dedicated", "faults": [{"name": "slow-first-byte", "seconds": 50}]})
    text = json.loads(policy(targets.url))
    text["endpoints"] = {"dedicated": text["endpoints"]["dedicated"]}
    with container(tmp_path, json.dumps(text)) as (process, port):
        answers: list[int] = []

        def ask() -> None:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", chat(), method="POST")
            request.add_header("Content-Type", "application/json")
            with urllib.request.urlopen(request, timeout=60) as answer:
                answers.append(answer.status)

        asking = threading.Thread(target=ask)
        asking.start()
        while not targets.control("GET", "models")[1]["dedicated"]["in_flight"]:
            assert asking.is_alive()
        process.send_signal(signal.SIGTERM)
        while listens(port):
            assert process.poll() is None
        assert answers == []
        targets.control("POST", "clock", {"advance": "50s"})
        asking.join(60)
        assert process.wait(60) == 0
    assert answers == [200]


def listens(port: int) -> bool:
    """Whether a new connection is taken."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_a_policy_with_one_endpoint_needs_no_word_and_one_with_several_does(targets: Standin, tmp_path: Path) -> None:
    """`serve` alone: healthy with one, exit 2 with one line that says what to do with several."""
    text = json.loads(policy(targets.url))
    text["endpoints"] = {"dedicated": text["endpoints"]["dedicated"]}
    with (
        container(tmp_path, json.dumps(text)) as (_, port),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=60) as answer,
    ):
        assert (answer.status, answer.read()) == (200, b"")
    path = tmp_path / "several.yaml"
    path.write_text(policy(targets.url))
    done = subprocess.run(
        [str(Path(sys.executable).parent / "pointsman"), "serve", "--face", "container", "--policy", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "POINTSMAN_ENDPOINT" in done.stderr or "--endpoint" in done.stderr
    assert len(done.stderr.splitlines()) == 1
