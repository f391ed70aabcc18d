"""Cold starts end to end: boto3's client, the proxy, and an import on the stand-in of Bedrock that has no copy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from policies.temperature import Warmth
from proxy.server import running
from proxy.services import Services
from proxy.settings import Settings
from proxy.wiring import serving, static_credentials
from tests.standins import ACCESS_KEY_ID, IMPORT_ARN, SECRET_ACCESS_KEY, Standin, config_of, running_emulator

T = TypeVar("T")

POLICY = """
apiVersion: pointsman/v1
account: "123456789012"
targets:
  imported: {{kind: bedrock, model: "{arn}", url: "{url}", speaks: openai-chat, cold: {{restore: {restore}}}}}
  dedicated: {{kind: endpoint, endpoint: dedicated, region: us-east-1, url: "{url}", speaks: openai-chat}}
endpoints:
  chat: {{serve_from: imported, fallback: [dedicated], clients_speak: openai-chat, {block}}}
"""
BODY = json.dumps({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}).encode()


IMPORT = {"kind": "import", "arn": IMPORT_ARN}


class Cold:
    """A proxy in front of an import that starts cold and comes back when its clock is moved."""

    def __init__(self, standin: Standin, services: Services, port: int, admin_port: int) -> None:
        self.standin = standin
        self.services = services
        self.port, self.admin_port = port, admin_port
        self.url = f"http://127.0.0.1:{port}"
        self.client = standin.client("sagemaker-runtime", url=self.url)
        self.threads = ThreadPoolExecutor(10)
        self.component: dict[str, str] = {}

    async def ask(self, client: Any = None) -> tuple[str, dict[str, Any]]:
        """One request: the target that answered, or the error's code, with the answer's headers."""
        return await self.aside(lambda: self._ask(client or self.client))

    def _ask(self, client: Any) -> tuple[str, dict[str, Any]]:
        try:
            answer = client.invoke_endpoint(
                EndpointName="chat", Body=BODY, ContentType="application/json", **self.component
            )
        except ClientError as error:
            told = error.response["ResponseMetadata"]
            headers = told["HTTPHeaders"] | {"status": told["HTTPStatusCode"], "retries": told["RetryAttempts"]}
            return error.response["Error"]["Code"], headers
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        return headers["x-pointsman-target"], headers

    async def aside(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)

    async def seen(self) -> list[dict[str, Any]]:
        """What the import was asked, oldest first."""
        _, calls = await asyncio.to_thread(self.standin.control, "GET", "calls")
        return [call for call in calls if call["model"] == "imported"]

    def warmth(self) -> Warmth:
        target = self.services.policy.current.table.targets["imported"]
        return self.services.temperatures.warmth(target, self.services.now())

    async def until(self, *warmths: Warmth) -> None:
        target = self.services.policy.current.table.targets["imported"]
        while self.warmth() not in warmths:
            await self.services.temperatures.change(target, 0.2)

    async def waiting(self, wanted: int) -> None:
        """Until so many requests wait for the import."""
        while sum(seen.waiting for seen in self.services.temperatures.seen(self.services.now())) != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    async def post(self) -> str:
        """One request without an SDK, which a hundred at a time can afford: the target that answered."""
        head = f"POST /endpoints/chat/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n"
        head += "Content-Type: application/json\r\nConnection: close\r\n\r\n"
        answer = await _exchanged(self.port, head.encode() + BODY)
        return answer.lower().split(b"x-pointsman-target: ")[1].split(b"\r\n")[0].decode()

    async def admin(self, path: str) -> str:
        ask = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        return (await _exchanged(self.admin_port, ask.encode())).partition(b"\r\n\r\n")[2].decode()


async def _exchanged(port: int, asked: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(asked)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def _probed(call: dict[str, Any]) -> bool:
    return call.get("size") == len(b'{"messages":[{"role":"user","content":"."}],"max_tokens":1}')


PACKED = """
apiVersion: pointsman/v1
account: "123456789012"
targets:
  imported: {{kind: endpoint, endpoint: shared, component: imported, region: us-east-1, url: "{url}",
             speaks: openai-chat, cold: {{restore: {restore}}}}}
endpoints:
  chat: {{components: {{one: {{serve_from: imported, {block}}}}}}}
"""


@asynccontextmanager
async def cold(
    tmp_path: Path,
    block: str,
    restore: str = "1s..5m",
    starts: str = "cold",
    text: str = POLICY,
    hosting: dict[str, Any] | None = None,
    **model: Any,
) -> AsyncIterator[Cold]:
    settings = {"starts": starts, "restore": 60, **model}
    models = {
        "imported": {"dialect": "openai-chat", "cold": settings, "idle": 900, **(hosting or IMPORT)},
        "dedicated": {"kind": "endpoint", "dialect": "openai-chat"},
    }
    async with running_emulator(config_of(models)) as standin:
        standin.emulator.clock.freeze()
        policy = tmp_path / "policy.yaml"
        policy.write_text(text.format(arn=IMPORT_ARN, url=standin.url, block=block, restore=restore))
        given = Settings(str(policy), port=0, admin_port=0, log=str(tmp_path / "log"), drain=1.0)
        async with (
            serving(given, {}, static_credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY)) as services,
            running(given, services) as addresses,
        ):
            assert addresses.admin_port is not None
            made = Cold(standin, services, addresses.port, addresses.admin_port)
            try:
                yield made
            finally:
                made.client.close()
                made.threads.shutdown()


def back(world: Cold) -> None:
    """The import is loaded now."""
    world.standin.emulator.clock.advance(60)


async def test_spill_serves_everyone_and_traffic_comes_back(tmp_path: Path) -> None:
    """No caller notices the restore; afterwards the import answers again, bit by bit and by itself."""
    async with cold(tmp_path, "when_cold: spill") as world:
        assert [(await world.ask())[0] for _ in range(5)] == ["dedicated"] * 5
        assert world.warmth() is Warmth.WARMING
        back(world)
        await world.until(Warmth.READY)
        for _ in range(500):
            if (await world.ask())[0] == "imported":
                break
        else:
            pytest.fail("spilled traffic did not come back")
    log = (tmp_path / "log").read_text()
    assert '"cold":"spill"' in log
    assert "cold-spill: imported is" in log
    assert '"log":"warm"' in log


async def test_a_hundred_callers_cause_one_restore_probe(tmp_path: Path) -> None:
    """All are answered by the fallback, the import sees who found it cold and the probe, and one probe is out."""
    async with cold(tmp_path, "when_cold: spill", restore="30s..5m") as world:
        assert (await world.ask())[0] == "dedicated"
        assert set(await asyncio.gather(*(world.post() for _ in range(99)))) == {"dedicated"}
        assert [task.get_name() for task in asyncio.all_tasks() if "restore" in task.get_name()] == ["restore imported"]
        asked = await world.seen()
        assert len([call for call in asked if not _probed(call)]) == 1
        back(world)
        await world.until(Warmth.READY)
        metrics = await world.admin("/metrics")
    assert 'pointsman_restores_total{target="imported",result="ready"} 1' in metrics
    assert 'pointsman_cold_requests_total{model="chat",became="spill"} 100' in metrics
    assert 'pointsman_target_temperature{target="imported"} 1' in metrics
    assert 'pointsman_breaker_state{target="imported",replica="0"} 0' in metrics


def _client(world: Cold, attempts: int = 1) -> Any:
    config = Config(max_pool_connections=25, retries={"total_max_attempts": attempts, "mode": "standard"})
    return botocore.session.Session().create_client(
        "sagemaker-runtime",
        region_name="us-east-1",
        endpoint_url=world.url,
        aws_access_key_id="AKIDANY",
        aws_secret_access_key="any",
        config=config,
    )


async def test_hold_answers_when_it_is_back(tmp_path: Path) -> None:
    """Callers wait at the proxy and get the import's own answer; the fallback sees none of them."""
    async with cold(tmp_path, "when_cold: hold") as world:
        held = [asyncio.ensure_future(world.ask()) for _ in range(8)]
        await world.waiting(8)
        assert not any(one.done() for one in held)
        back(world)
        assert {where for where, _ in await asyncio.gather(*held)} == {"imported"}
        (shown,) = json.loads(await world.admin("/admin/temperatures"))["temperatures"]
        assert (shown["target"], shown["restores_measured"], shown["waiting"]) == ("imported", 1, 0)
        assert shown["state"] == "ready"
        metrics = await world.admin("/metrics")
    assert 'became="hold"} 8' in metrics
    assert 'pointsman_model_loading_wait_time_seconds_count{endpoint="chat"' in metrics


async def test_hold_ends_before_the_deadline_and_says_when_to_come_again(tmp_path: Path) -> None:
    """Nobody is held past the time an answer needs; the error is typed and has its times."""
    async with cold(tmp_path, "when_cold: hold, timeout: 4s, stream_timeout: 5s") as world:
        code, headers = await world.ask()
        assert code == "ModelNotReadyException"
        assert int(headers["x-amz-retry-after"]) >= 1000
        assert int(headers["retry-after"]) >= 1


async def test_fail_is_typed_at_once_and_not_asked_twice(tmp_path: Path) -> None:
    """429 ModelNotReadyException with its time in milliseconds and seconds; the SDK does not send it again."""
    async with cold(tmp_path, "when_cold: fail", restore="60s..4m") as world:
        client = _client(world, attempts=3)
        found = [await world.ask(client) for _ in range(5)]
        assert {code for code, _ in found} == {"ModelNotReadyException"}
        _, headers = found[-1]
        assert (headers["status"], headers["retries"]) == (429, 0)
        assert 60_000 < int(headers["x-amz-retry-after"]) <= 120_000
        assert 60 < int(headers["retry-after"]) <= 120
        assert "x-pointsman-target" not in headers
        assert len([call for call in await world.seen() if not _probed(call)]) == 1
        metrics = await world.admin("/metrics")
        client.close()
    assert 'became="fail"} 5' in metrics
    assert (
        'pointsman_no_capacity_invocation_failures_total{endpoint="chat",component="",target="",kind=""} 4' in metrics
    )
    assert '"ended":"failed"' in (tmp_path / "log").read_text()


async def test_an_sdk_sends_a_503_again_by_itself(tmp_path: Path) -> None:
    """With `cold_status: 503`, after the time that it was told; by then the import may be back."""
    async with cold(tmp_path, "when_cold: fail, cold_status: 503", restore="1s..1s") as world:
        client = _client(world, attempts=2)
        first = asyncio.ensure_future(world.ask(client))
        await world.until(Warmth.WARMING)
        back(world)
        assert (await first)[0] == "imported"
        client.close()


async def test_a_service_that_holds_cold_calls_holds_one(tmp_path: Path) -> None:
    """Whoever comes while the first call is out for as long as a restore takes goes elsewhere; nothing breaks."""
    async with cold(tmp_path, "when_cold: spill", behaviour="hold", restore="300ms..5m") as world:
        first = asyncio.ensure_future(world.ask())
        await world.until(Warmth.WARMING)
        assert (await world.ask())[0] == "dedicated"
        back(world)
        assert (await first)[0] == "imported"
        await world.until(Warmth.READY)
        assert '"state":"closed"' in await world.admin("/admin/breakers")
        assert len([call for call in await world.seen() if not _probed(call)]) == 1


async def test_cold_answers_never_open_a_breaker(tmp_path: Path) -> None:
    """However many callers and probes it refuses: none of it is a failure of the target's."""
    async with cold(tmp_path, "when_cold: fail", restore="120ms..5m") as world:
        for _ in range(30):
            assert (await world.ask())[0] == "ModelNotReadyException"
        assert '"state":"closed"' in await world.admin("/admin/breakers")
        assert '"open"' not in await world.admin("/admin/breakers")


async def test_streams_spill_as_well(tmp_path: Path) -> None:
    """A streamed request is answered by the fallback from its first byte."""
    async with cold(tmp_path, "when_cold: spill") as world:
        body = json.dumps({"messages": [{"role": "user", "content": "hello"}], "stream": True}).encode()

        def stream() -> tuple[str, int]:
            answer = world.client.invoke_endpoint_with_response_stream(EndpointName="chat", Body=body)
            headers = answer["ResponseMetadata"]["HTTPHeaders"]
            return headers["x-pointsman-target"], sum("PayloadPart" in event for event in answer["Body"])

        where, parts = await world.aside(stream)
        assert where == "dedicated"
        assert parts > 1


async def test_a_warm_import_is_left_alone(tmp_path: Path) -> None:
    """No probe, no wait, no word in the log: what is ready costs nothing."""
    async with cold(tmp_path, "when_cold: spill", starts="warm") as world:
        assert [(await world.ask())[0] for _ in range(3)] == ["imported"] * 3
        assert world.warmth() is Warmth.READY
        assert not [call for call in await world.seen() if _probed(call)]
    assert '"cold":"' not in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("block", "code", "status"),
    [
        ("when_cold: fail", "ValidationError", 400),
        ("when_cold: fail, cold_status: 429", "ModelNotReadyException", 429),
        ("when_cold: fail, cold_status: 503", "ServiceUnavailable", 503),
    ],
)
async def test_a_component_at_zero_is_cold(tmp_path: Path, block: str, code: str, status: int) -> None:
    """It says so in words of its own, which a client hears unless the policy has another status; a probe wakes it."""
    hosting = {"kind": "component", "endpoint": "shared"}
    async with cold(tmp_path, block, text=PACKED, hosting=hosting) as world:
        world.component = {"InferenceComponentName": "one"}
        found, headers = await world.ask()
        assert (found, headers["status"]) == (code, status)
        assert int(headers["x-amz-retry-after"]) >= 1000
        await world.until(Warmth.WARMING)
        back(world)
        await world.until(Warmth.READY)
        assert (await world.ask())[0] == "imported"
