"""Credentials through boto3's real chain, with files, processes and a local STS instead of AWS."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import exceptions as botocore_errors
from botocore.credentials import CredentialResolver

from backends.aws import (
    LOOK_AGAIN,
    RETRY_AFTER,
    ROLE_SAFETY,
    STALE,
    AwsCredentials,
    CredentialsError,
    StaticCredentials,
    utc_now,
)
from backends.wire.sigv4 import Credentials
from policies.table import AssumedRole

from .accounts import START, Clock, Sts, chain_of
from .upstream import served

ROLE = AssumedRole("arn:aws:iam::123456789012:role/models", "external-7")


@pytest.fixture
def process_config(tmp_path: Path) -> tuple[Path, Path]:
    """A config file whose keys come from a process that numbers its calls, and the file where it counts them.

    The keys expire soon enough that botocore asks the process each time it is itself asked.
    """
    calls = tmp_path / "calls"
    calls.write_text("")
    script = tmp_path / "give.py"
    script.write_text(
        "import datetime, json, pathlib, sys\n"
        f"calls = pathlib.Path({str(calls)!r})\n"
        "calls.write_text(calls.read_text() + 'x')\n"
        f"if pathlib.Path({str(tmp_path / 'broken')!r}).exists():\n"
        "    sys.exit('hush: a secret on stderr')\n"
        "soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=5)\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': 'AKID%d' % len(calls.read_text()),\n"
        "    'SecretAccessKey': 's', 'SessionToken': 't', 'Expiration': soon.isoformat()}))\n"
    )
    path = tmp_path / "config"
    path.write_text(f"[default]\ncredential_process = {sys.executable} -S {script}\n")
    return path, calls


@asynccontextmanager
async def source(make_session: Callable[[], Any], clock: Clock, **options: Any) -> AsyncIterator[AwsCredentials]:
    """Credentials that are closed at the end."""
    credentials = AwsCredentials(clock=clock, make_session=make_session, **options)
    try:
        yield credentials
    finally:
        await credentials.aclose()


async def idle(credentials: AwsCredentials) -> None:
    """Waits for look-ups that run in the background."""
    while flights := [task for task in asyncio.all_tasks() if task.get_name().startswith("aws-credentials")]:
        await asyncio.wait(flights)


async def test_static_credentials_answer_for_roles_too() -> None:
    """Fixed credentials are given for everything."""
    given = Credentials("AKID", "s")
    assert await StaticCredentials(given).get(ROLE) == given
    assert StaticCredentials(given).at_hand(ROLE, START) == given


def test_botocore_is_imported_when_it_is_needed() -> None:
    """Who has no targets at AWS does not hold it; who prepares has it before a request, not the rest of boto3."""
    code = """
import asyncio, sys
from backends.aws import AwsCredentials
from backends.objects import ObjectReader
async def main():
    credentials, reader = AwsCredentials(), ObjectReader()
    before = {"boto3", "botocore"} & set(sys.modules)
    await credentials.prepare()
    await credentials.aclose()
    print(sorted(before), {"boto3", "botocore.session"} & set(sys.modules))
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] {'botocore.session'}\n"


async def test_the_chain_is_read(static_config: Path) -> None:
    """Credentials come from boto3's chain."""
    async with source(lambda: chain_of(static_config), Clock()) as credentials:
        assert await credentials.get() == Credentials("AKIDOWN", "secret-own")


async def test_fresh_credentials_are_given_without_a_wait(static_config: Path) -> None:
    """While the credentials are fresh, `get` finishes in one step: it never gives the loop away."""
    async with source(lambda: chain_of(static_config), Clock()) as credentials:
        await credentials.get()
        with pytest.raises(StopIteration):
            credentials.get().send(None)


async def test_fresh_credentials_are_at_hand(static_config: Path) -> None:
    """As long as nothing has to be looked up for them; before and after that `get` is to be asked."""
    clock = Clock()
    async with source(lambda: chain_of(static_config), clock) as credentials:
        assert credentials.at_hand(None, START) is None
        given = await credentials.get()
        assert credentials.at_hand(None, START) is given
        assert credentials.at_hand(ROLE, START) is None
        assert credentials.at_hand(None, START + LOOK_AGAIN) is None
        credentials.refused(given)
        assert credentials.at_hand(None, START) is None


def rotate(config: Path) -> None:
    """Another key and secret in place of those of `static_config`."""
    config.write_text(config.read_text().replace("OWN", "NEW").replace("own", "new"))


async def test_refused_credentials_are_looked_up_from_the_beginning(static_config: Path) -> None:
    """What was rotated in a file that boto3 had read is found at once, not when the process is started again."""
    clock = Clock()
    async with source(lambda: chain_of(static_config), clock) as credentials:
        old = await credentials.get()
        rotate(static_config)
        assert await credentials.get() is old
        credentials.refused(old)
        new = await credentials.get()
        assert new == Credentials("AKIDNEW", "secret-new")
        credentials.refused(old)  # a request that was still on its way
        assert await credentials.get() is new


async def test_credentials_that_are_refused_all_the_time_are_looked_up_once_a_minute(static_config: Path) -> None:
    """A target that knows none of them does not make every request wait for a look-up."""
    clock = Clock()
    async with source(lambda: chain_of(static_config), clock) as credentials:
        credentials.refused(await credentials.get())
        again = await credentials.get()
        credentials.refused(again)
        assert await credentials.get() is again
        clock.now += LOOK_AGAIN
        credentials.refused(again)
        assert await credentials.get() is not again


async def test_refreshed_in_the_background(process_config: tuple[Path, Path]) -> None:
    """After a minute the old credentials are still given at once; botocore is asked meanwhile, then new ones come."""
    config, calls = process_config
    clock = Clock()
    async with source(lambda: chain_of(config), clock) as credentials:
        first = await credentials.get()
        before = len(calls.read_text())
        clock.now += LOOK_AGAIN - timedelta(seconds=1)
        await credentials.get()
        await idle(credentials)
        assert len(calls.read_text()) == before
        clock.now += timedelta(seconds=1)
        with pytest.raises(StopIteration) as given:
            credentials.get().send(None)
        assert given.value.value == first
        await idle(credentials)
        assert len(calls.read_text()) > before
        assert (await credentials.get()).access_key > first.access_key


async def test_stale_credentials_are_not_given(process_config: tuple[Path, Path]) -> None:
    """Credentials that were not looked at for five minutes are looked up before they are given."""
    config, _ = process_config
    clock = Clock()
    async with source(lambda: chain_of(config), clock) as credentials:
        first = await credentials.get()
        clock.now += STALE
        assert (await credentials.get()).access_key > first.access_key


async def test_a_failed_refresh_keeps_what_is_still_good(process_config: tuple[Path, Path]) -> None:
    """When the chain fails in between, the last credentials serve until they are stale, then the cause is told."""
    config, calls = process_config
    clock = Clock()
    async with source(lambda: chain_of(config), clock) as credentials:
        first = await credentials.get()
        (config.parent / "broken").touch()
        clock.now += LOOK_AGAIN
        assert await credentials.get() == first
        await idle(credentials)
        failed = len(calls.read_text())
        assert await credentials.get() == first
        await idle(credentials)
        assert len(calls.read_text()) == failed
        clock.now += STALE
        with pytest.raises(CredentialsError) as raised:
            await credentials.get()
        assert raised.value.cause == "AWS credentials could not be read from custom-process: check the AWS config file"


async def test_callers_share_one_look_up(process_config: tuple[Path, Path]) -> None:
    """A hundred requests at the start cost one look-up, and one that gives up does not end it for the others."""
    config, calls = process_config
    made = []

    def make() -> botocore.session.Session:
        made.append(1)
        return chain_of(config)

    async with source(make, Clock()) as credentials, asyncio.TaskGroup() as group:
        waiting = [group.create_task(credentials.get()) for _ in range(100)]
        await asyncio.wait([group.create_task(asyncio.sleep(0))])
        waiting[0].cancel()
        results = await asyncio.gather(*waiting[1:])
        assert len(set(results)) == 1
        assert len(made) == 1
        # botocore loads and then freezes: two calls of a process whose keys always expire soon.
        assert len(calls.read_text()) <= 2


async def test_no_credentials_anywhere(tmp_path: Path) -> None:
    """An empty chain is an error that says what to do; it is remembered for a moment, and then looked up again."""
    made: list[int] = []

    def make() -> botocore.session.Session:
        core = botocore.session.Session()

        class Empty(CredentialResolver):  # type: ignore[misc] # botocore has no types
            def load_credentials(self) -> None:
                made.append(1)

        core.register_component("credential_provider", Empty([]))
        return core

    clock = Clock()
    async with source(make, clock) as credentials:
        for _ in range(3):
            with pytest.raises(CredentialsError, match="AWS_ACCESS_KEY_ID"):
                await credentials.get()
        assert len(made) == 1
        clock.now += RETRY_AFTER
        with pytest.raises(CredentialsError, match="AWS_ACCESS_KEY_ID"):
            await credentials.get()
        assert len(made) == 2


async def test_an_unknown_profile_is_named_as_the_cause(static_config: Path) -> None:
    """A profile that does not exist is told as such."""
    async with source(lambda: chain_of(static_config, "elsewhere"), Clock()) as credentials:
        with pytest.raises(CredentialsError, match="AWS_PROFILE"):
            await credentials.get()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (botocore_errors.PartialCredentialsError(provider="env", cred_var="x"), "incomplete"),
        (botocore_errors.UnauthorizedSSOTokenError(), "aws sso login"),
        (botocore_errors.EndpointConnectionError(endpoint_url="http://x"), "can't be reached"),
        (ValueError("hush"), "could not be had: ValueError"),
    ],
)
async def test_causes_are_one_line_without_secrets(error: Exception, text: str) -> None:
    """Whatever the chain raises becomes one line that helps, without the error's own text."""

    def make() -> Any:
        raise error

    async with source(make, Clock()) as credentials:
        with pytest.raises(CredentialsError, match=text) as raised:
            await credentials.get()
        assert "\n" not in raised.value.cause
        assert "hush" not in raised.value.cause


async def test_closed_credentials_answer_at_once(static_config: Path) -> None:
    """After `aclose`, and for those who wait during it, there is an error instead of a hang."""
    entered, leave = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def make() -> botocore.session.Session:
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(leave.wait(), loop).result()
        return chain_of(static_config)

    async with source(make, Clock()) as credentials, asyncio.TaskGroup() as group:
        waiting = group.create_task(asyncio.wait_for(_cause_of(credentials), 60))
        await entered.wait()
        await credentials.aclose()
        leave.set()
        assert "stopping" in await waiting
        assert "stopping" in await _cause_of(credentials)


async def _cause_of(credentials: AwsCredentials) -> str:
    with pytest.raises(CredentialsError) as raised:
        await credentials.get()
    return raised.value.cause


@pytest.fixture
async def sts() -> AsyncIterator[Sts]:
    """STS on a socket."""
    stand_in = Sts(Clock())
    async with served(stand_in.answer) as stand_in.url:
        yield stand_in


async def test_a_role_is_assumed_with_its_external_id(static_config: Path, sts: Sts) -> None:
    """STS is asked in the session's region, with the external id, and signed with the chain's credentials."""
    async with source(lambda: chain_of(static_config), sts.clock, sts_url=sts.url) as credentials:
        given = await credentials.get(ROLE)
        assert given == Credentials("ASIA1", "s", "t", START + timedelta(hours=1))
        (asked,) = sts.asked
        assert (asked["Action"], asked["RoleArn"], asked["ExternalId"]) == ("AssumeRole", ROLE.arn, "external-7")
        assert asked["signed"].startswith("AKIDOWN/")
        assert "/us-east-1/sts/" in asked["signed"]
        assert (await credentials.get()).access_key == "AKIDOWN"


async def test_roles_are_kept_apart(static_config: Path, sts: Sts) -> None:
    """Another role, or the same with another external id, has credentials of its own; known ones aren't asked for."""
    async with source(lambda: chain_of(static_config), sts.clock, sts_url=sts.url, region="eu-central-1") as it:
        roles = (ROLE, AssumedRole(ROLE.arn), AssumedRole("arn:aws:iam::123456789012:role/other"))
        first = [await it.get(role) for role in roles]
        assert [each.access_key for each in first] == ["ASIA1", "ASIA2", "ASIA3"]
        assert [await it.get(role) for role in roles] == first
        assert [asked.get("ExternalId") for asked in sts.asked] == ["external-7", None, None]
        assert "/eu-central-1/sts/" in sts.asked[0]["signed"]


async def test_a_role_is_renewed_ahead_of_its_expiry(static_config: Path, sts: Sts) -> None:
    """After three quarters of their life a role's credentials are renewed in the background, once."""
    async with source(lambda: chain_of(static_config), sts.clock, sts_url=sts.url) as credentials:
        first = await credentials.get(ROLE)
        sts.clock.now += timedelta(minutes=45) - timedelta(seconds=1)
        assert await credentials.get(ROLE) == first
        await idle(credentials)
        assert len(sts.asked) == 1
        sts.clock.now += timedelta(seconds=1)
        assert [await credentials.get(ROLE) for _ in range(3)] == [first] * 3
        await idle(credentials)
        assert (await credentials.get(ROLE)).access_key == "ASIA2"


async def test_a_role_in_its_last_minute_is_not_used(static_config: Path, sts: Sts) -> None:
    """Credentials about to expire are renewed before they are given."""
    async with source(lambda: chain_of(static_config), sts.clock, sts_url=sts.url) as credentials:
        await credentials.get(ROLE)
        sts.clock.now += timedelta(hours=1) - ROLE_SAFETY
        assert (await credentials.get(ROLE)).access_key == "ASIA2"


async def test_a_refused_role_is_a_cause_with_its_remedy(static_config: Path, sts: Sts) -> None:
    """A role that STS refuses is named, with what to check, and without STS's own text."""
    sts.refuse = True
    async with source(lambda: chain_of(static_config), sts.clock, sts_url=sts.url) as credentials:
        with pytest.raises(
            CredentialsError, match=r"role/models \(AccessDenied\): check the role's trust policy"
        ) as raised:
            await credentials.get(ROLE)
        assert "hush" not in raised.value.cause


async def test_a_role_needs_a_region(static_config: Path) -> None:
    """Without any region there is no STS to ask, and the error says which variable to set."""
    async with source(lambda: chain_of(static_config, region=None), Clock()) as credentials:
        with pytest.raises(CredentialsError, match="AWS_DEFAULT_REGION"):
            await credentials.get(ROLE)


def test_the_default_clock_knows_its_zone() -> None:
    """Expiry times have a time zone, so the clock must have one."""
    assert utc_now().tzinfo is UTC
