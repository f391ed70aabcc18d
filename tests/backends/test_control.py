"""SageMaker's control plane, through boto3 against a stand-in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from backends.aws import CredentialsError, StaticCredentials
from backends.control import ControlPlane
from backends.wire.sigv4 import Credentials
from policies.table import AssumedRole, EndpointSpec, Target
from tests.listening import listening

STATIC = StaticCredentials(Credentials("AKIDEXAMPLE", "secret", None))


class SageMaker(ThreadingHTTPServer):
    """Answers each call with what is next; keeps what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Asked(BaseHTTPRequestHandler):
    server: SageMaker

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what was asked is in `asked`."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.headers["X-Amz-Target"], body))
        status, answer = self.server.answers.pop(0)
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@pytest.fixture
def sagemaker() -> Iterator[SageMaker]:
    with listening(SageMaker()) as server:
        yield server


def endpoint(status: str, *variants: dict[str, Any]) -> dict[str, Any]:
    shown = [{"VariantName": f"v{number}", **variant} for number, variant in enumerate(variants)]
    return {"EndpointName": "x", "EndpointStatus": status, "ProductionVariants": shown}


async def instances(sagemaker: SageMaker, component: str | None = None) -> float:
    control = ControlPlane(STATIC, url=sagemaker.url)
    spec = EndpointSpec("x", component)
    try:
        return await control.instances(Target("x", "endpoint", spec, region="us-east-1"), spec)
    finally:
        await control.aclose()


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        (endpoint("InService", {"CurrentInstanceCount": 3}, {"CurrentInstanceCount": 1}), 4.0),
        (endpoint("Updating", {"CurrentInstanceCount": 2, "DesiredInstanceCount": 4}), 2.0),
        (endpoint("Failed", {"CurrentInstanceCount": 2}), 0.0),
        (endpoint("InService", {"CurrentServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 20}}), 20.0),
        (endpoint("InService"), 0.0),
    ],
)
async def test_endpoint_has_the_instances_of_its_variants(
    sagemaker: SageMaker, answer: dict[str, Any], count: float
) -> None:
    """What runs, not what was wished for; an endpoint that is updated serves, one that failed does not."""
    sagemaker.answers.append((200, answer))
    assert await instances(sagemaker) == count
    assert sagemaker.asked == [("SageMaker.DescribeEndpoint", {"EndpointName": "x"})]


@pytest.mark.parametrize(("status", "count"), [("InService", 2.0), ("Creating", 0.0)])
async def test_component_has_copies(sagemaker: SageMaker, status: str, count: float) -> None:
    """Of the component, whatever else its endpoint runs."""
    runtime = {"DesiredCopyCount": 4, "CurrentCopyCount": 2}
    sagemaker.answers.append((200, {"InferenceComponentStatus": status, "RuntimeConfig": runtime}))
    assert await instances(sagemaker, "blockgen") == count
    assert sagemaker.asked == [("SageMaker.DescribeInferenceComponent", {"InferenceComponentName": "blockgen"})]


async def test_refusal_says_which_right_is_missing(sagemaker: SageMaker) -> None:
    """In one line, with the service's code."""
    sagemaker.answers.append((400, {"__type": "AccessDeniedException", "message": "no"}))
    with pytest.raises(OSError, match=r"AccessDeniedException: .*sagemaker:Describe"):
        await instances(sagemaker)


async def test_sagemaker_that_is_not_there(sagemaker: SageMaker) -> None:
    """Network and region are named, not the credentials."""
    spec = EndpointSpec("x")
    control = ControlPlane(STATIC, url="http://127.0.0.1:1")
    with pytest.raises(OSError, match="can't be reached"):
        await control.instances(Target("x", "endpoint", spec, region="us-east-1"), spec)
    await control.aclose()


async def test_no_credentials_for_the_role(sagemaker: SageMaker) -> None:
    """What the chain says is what is said."""

    class Without:
        async def get(self, role: AssumedRole | None = None) -> Credentials:
            cause = f"no role {role.arn if role else ''}"
            raise CredentialsError(cause)

        def at_hand(self, role: AssumedRole | None, now: datetime) -> Credentials | None:
            """There are none."""
            return None

        def refused(self, credentials: Credentials, role: AssumedRole | None = None) -> None:
            """Nothing was given, so nothing can be refused."""

    spec = EndpointSpec("x", role=AssumedRole("arn:aws:iam::123456789012:role/r"))
    control = ControlPlane(Without(), url=sagemaker.url)
    with pytest.raises(OSError, match="no role arn:aws:iam"):
        await control.instances(Target("x", "endpoint", spec, region="us-east-1"), spec)
    await control.aclose()
