"""The composition root: parts that fit, and starts that fail before anything runs."""

from __future__ import annotations

import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from policies.errors import PolicyError
from policies.load import load_policy
from proxy.policy_source import UnreadableError
from proxy.settings import Settings
from proxy.wiring import look_for_credentials, serving, static_credentials
from tests.outcomes import outcome

from .parts import POLICY, invocation

ROOT = Path(__file__).parents[2]


async def test_every_kind_of_the_policy_has_a_backend(tmp_path: Path) -> None:
    """A policy is loaded, and what it can name can be served."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    settings = Settings(str(policy), log=str(tmp_path / "log"))
    async with serving(settings, {}, static_credentials("k", "s")) as services:
        assert set(services.backends) == {"endpoint", "bedrock", "vllm"}
        assert services.policy.current.generation == 1
        assert uuid.UUID(services.new_id()).version == 4
        assert services.new_id() != services.new_id()
        assert 0 <= services.draw() < 1
        assert services.wall() > 1.7e9


async def test_without_shared_state_nothing_migrates_and_nothing_is_copied(tmp_path: Path) -> None:
    """There is none of the parts for that, and with it all of them but the alerts, which have an address."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    alone = Settings(str(policy), log=str(tmp_path / "log"))
    shared = replace(alone, state=f"sqlite:///{tmp_path}/state.db", state_copy="")
    for settings, parts in ((alone, False), (shared, True)):
        async with serving(settings, {}, static_credentials("k", "s")) as services:
            found = [services.follower, services.shadows, services.controller]
            assert [part is not None for part in found] == [parts] * 3
            assert services.alerts is None


async def test_a_worker_serves_where_the_temporary_folder_was_cleaned(tmp_path: Path) -> None:
    """What workers tell each other of their targets lies there; one that starts afterwards does without."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    settings = Settings(str(policy), log=str(tmp_path / "log"))
    for near, uses in ((f"sqlite:///{tmp_path}/near.db", True), (f"sqlite:///{tmp_path}/gone/near.db", False)):
        async with serving(settings, {}, static_credentials("k", "s"), near=near) as services:
            assert (services.uses is not None) == uses


def test_a_worker_holds_only_what_it_may_use() -> None:
    """2 MB less: what supervises, and what moves migrations on where there is shared state."""
    program = "import sys, proxy.workers.process; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True, text=True)
    others = ("proxy.workers.supervisor", "proxy.migrating", "warmers.migrations", "warmers.shadow", "sqlite3", "boto")
    assert [name for name in done.stdout.split() if name.startswith(others)] == []


async def test_what_waits_at_the_end_is_done_while_it_can_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A request's line and its spans are delivered also where the loop has no further turn before the end."""
    policy, log = tmp_path / "policy.yaml", tmp_path / "log"
    policy.write_text(POLICY)
    settings = Settings(str(policy), log=str(log), otel="console", sample=1.0)
    async with serving(settings, {}, static_credentials("k", "s")) as services:
        told, trace = outcome(), services.telemetry.start(invocation(), 0)
        services.afterwards.do(lambda: services.log.write(told))
        services.afterwards.do(lambda: trace.finish(told))
    assert told.request_id in log.read_text()
    assert str(trace.trace_id) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "given", "told"),
    [
        ("{kind: endpoint, endpoint: e, region: us-east-1}", {}, True),
        ("{kind: endpoint, endpoint: e, sign: false, url: 'http://127.0.0.1:1'}", {}, False),
        ("{kind: endpoint, endpoint: e, region: us-east-1}", {"AWS_ACCESS_KEY_ID": "AKID"}, False),
        ('{kind: vllm, url: "http://127.0.0.1:1", model: m}', {}, False),
    ],
)
async def test_a_start_without_credentials_says_so(
    target: str, given: dict[str, str], told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a target is signed for and nothing on this machine gives any: else only the first request would say it."""
    text = f'apiVersion: pointsman/v1\naccount: "123456789012"\ntargets: {{t: {target}}}\n'
    table = load_policy(text + "endpoints: {a: {serve_from: t}}\n", {})
    await look_for_credentials(table, {"AWS_EC2_METADATA_DISABLED": "true"} | given)
    lines = [line for line in caplog.messages if line.startswith("no AWS credentials in environment or files")]
    assert [line.endswith("(targets: t)") for line in lines] == [True] * told


async def test_static_credentials_are_what_was_given() -> None:
    """The stand-ins' pair, for every role."""
    found = await static_credentials("key", "secret").get(None)
    assert (found.access_key, found.secret_key, found.token) == ("key", "secret", None)


async def test_what_is_wrong_with_a_handler_is_told_of_the_policy_by_its_name(tmp_path: Path) -> None:
    """The report names the file that was given, and the line."""
    policy = tmp_path / "fleet.yaml"
    policy.write_text(
        'apiVersion: pointsman/v1\naccount: "123456789012"\n'
        'targets: {t: {kind: vllm, url: "http://127.0.0.1:1", model: m}}\n'
        "endpoints:\n  a:\n    serve_from: t\n    handler: {path: no.py}\n"
    )
    with pytest.raises(PolicyError) as told:
        async with serving(Settings(str(policy), log=str(tmp_path / "log")), {}, static_credentials("k", "s")):
            pass
    assert str(told.value).startswith(f"{policy}:7: endpoints.a.handler: ")


@pytest.mark.parametrize(
    ("text", "log", "error"),
    [(None, "log", UnreadableError), ("nonsense: [", "log", PolicyError), (POLICY, "no/such/folder/log", OSError)],
)
async def test_what_can_not_start_says_so(tmp_path: Path, text: str | None, log: str, error: type[Exception]) -> None:
    """A missing policy, a wrong one, and a log that can't be written."""
    policy = tmp_path / "policy.yaml"
    if text is not None:
        policy.write_text(text)
    with pytest.raises(error):
        async with serving(Settings(str(policy), log=str(tmp_path / log)), {}, static_credentials("k", "s")):
            pass
