"""AWS credentials through boto3's chain: off the event loop and ahead of expiry.

Strategy: botocore finds credentials (environment, profiles, container and instance roles, SSO, processes) and
refreshes them; both block. So they run in an executor of our own, and the loop keeps the last value: `get` returns it
at once while it is fresh, returns it and looks again in the background when it gets old, and waits only when there is
none to return: with fresh credentials a request meets no call of it. Whoever waits for the same credentials waits for
the same look-up. After a failure the next look-up is `RETRY_AFTER` away, so that a wrong set-up does not start a
look-up a request.

An assumed role is one call of STS (AssumeRole, in the session's region) with the chain's own credentials. botocore
is imported when it is first needed: it takes 7 MB (measured with 1.44), which a process without targets at AWS, or a
supervisor of such processes, need not hold; the rest of boto3 takes two more, and is for who asks S3 or SageMaker.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from cachetools import LRUCache

from policies.table import AssumedRole

from .tasks import start
from .wire.sigv4 import Credentials

LOOK_AGAIN = timedelta(seconds=60)
"""How long the chain's credentials are used before botocore is asked again, which renews them 15 min before expiry."""
STALE = timedelta(minutes=5)
"""How long they are used at most, when asking again did not succeed or nothing was sent in between."""
ROLE_SAFETY = timedelta(seconds=60)
"""An assumed role's credentials are not used in their last minute: clocks differ."""
ROLE_REFRESH = 0.75
"""Share of their life after which an assumed role's credentials are renewed: 45 min of STS's usual hour."""
RETRY_AFTER = timedelta(seconds=5)
"""How long a failed look-up answers for the ones that would follow."""
ROLES = 256
"""Roles remembered at once; one more forgets the one unused for longest."""

VENDOR = Path("/sys/class/dmi/id/sys_vendor")
"""Who made the machine, on Linux."""
_GIVEN = (
    *("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CREDENTIAL_FILE", "BOTO_CONFIG"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
)
"""Variables any of which gives credentials, or says where they are."""
_WRITTEN = frozenset(
    {
        *("aws_access_key_id", "credential_process", "role_arn", "web_identity_token_file"),
        *("sso_session", "sso_account_id", "login_session"),
    }
)
"""Keys of a profile any of which does."""

_SESSION_NAME = "pointsman"


def own_session() -> Any:
    """A `boto3.Session` with this process's own settings; boto3 is imported here."""
    import boto3

    return boto3.Session()


def own_chain() -> Any:
    """A `botocore.session.Session` with this process's own settings: what looks for credentials in boto3, without the
    rest of it, which a process that serves would have 2 MB of for nothing."""
    import botocore.session

    return botocore.session.Session()


def client_config() -> Any:
    """Few attempts and short: the caller has a deadline, and the next request repeats a failed look-up anyway."""
    from botocore.config import Config

    return Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 2, "mode": "standard"})


class CredentialsError(Exception):
    """There are no credentials. `cause` is one line that says why and what to do; it holds no secret."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class CredentialSource(Protocol):
    """Where a backend gets what it signs with."""

    async def get(self, role: AssumedRole | None = None) -> Credentials:
        """Credentials that are accepted now: of `role`, or this process's own. Raises CredentialsError."""
        ...

    def at_hand(self, role: AssumedRole | None, now: datetime) -> Credentials | None:
        """What `get` would give, where it need not look for them; None: it may have to."""
        ...

    def refused(self, credentials: Credentials, role: AssumedRole | None = None) -> None:
        """What `get` gave has expired or is not known any more, says the other side: the next `get` is to look anew."""
        ...


@dataclass(frozen=True, slots=True)
class StaticCredentials:
    """The same credentials for everything, roles included: for stand-ins and tests."""

    credentials: Credentials

    async def get(self, role: AssumedRole | None = None) -> Credentials:
        return self.credentials

    def at_hand(self, role: AssumedRole | None, now: datetime) -> Credentials | None:
        return self.credentials

    def refused(self, credentials: Credentials, role: AssumedRole | None = None) -> None:
        """There are no others."""


_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Known:
    """The outcome of the last look-ups of one role, or of the chain."""

    credentials: Credentials | None = None
    refresh_at: datetime = _LONG_AGO
    stale_at: datetime = _LONG_AGO
    failure: str | None = None
    retry_at: datetime = _LONG_AGO
    refused_at: datetime = _LONG_AGO
    """When credentials were last given up before their time."""


def utc_now() -> datetime:
    return datetime.now(UTC)


class AwsCredentials:
    """boto3's chain, and roles assumed with it. Made and used in one event loop; ended with `aclose`."""

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] = utc_now,
        make_session: Callable[[], Any] = own_chain,
        region: str | None = None,
        sts_url: str | None = None,
    ) -> None:
        """`make_session` makes a `botocore.session.Session`; it is called once, in a thread, when first needed.

        `region` is where STS is asked, by default the session's; `sts_url` replaces STS's own address.
        """
        self._clock = clock
        self._blocking = _Blocking(make_session, region, sts_url)
        self._executor = ThreadPoolExecutor(max_workers=4, thread_name_prefix="aws-credentials")
        self._known: LRUCache[AssumedRole | None, _Known] = LRUCache(maxsize=ROLES)
        self._flights: dict[AssumedRole | None, asyncio.Task[_Known]] = {}
        self._closed = False

    async def get(self, role: AssumedRole | None = None) -> Credentials:
        """See `CredentialSource`. Takes no time while the credentials are fresh."""
        now = self._clock()
        try:
            known = self._known[role]
        except KeyError:
            return await self._wait(role, now)
        if known.credentials is not None and now < known.stale_at:
            if now >= known.refresh_at and now >= known.retry_at and not self._closed:
                _ = self._look_up(role)
            return known.credentials
        return await self._wait(role, now)

    def at_hand(self, role: AssumedRole | None, now: datetime) -> Credentials | None:
        """See `CredentialSource`."""
        try:
            known = self._known[role]
        except KeyError:
            return None
        return known.credentials if now < known.refresh_at and now < known.stale_at else None

    async def prepare(self) -> None:
        """Have botocore imported, so that the first request does not wait for that."""
        await asyncio.get_running_loop().run_in_executor(self._executor, importlib.import_module, "botocore.session")

    async def unfound(self, variables: Mapping[str, str], vendor: Path = VENDOR) -> str | None:
        """Why nothing can be signed here, as far as variables and files say; None: it may well be. Nobody is asked.

        `vendor` is the file that says who made the machine: on EC2's it is usual that its role alone gives any.
        """
        if any(variables.get(name) for name in _GIVEN):
            return None
        loop, disabled = asyncio.get_running_loop(), variables.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true"
        return await loop.run_in_executor(self._executor, self._blocking.unfound, None if disabled else vendor)

    def refused(self, credentials: Credentials, role: AssumedRole | None = None) -> None:
        """See `CredentialSource`. boto3's chain starts over, so that what was rotated under it is found.

        At most once in `LOOK_AGAIN`: one target that knows none of them must not make the others wait all the time.
        """
        known, now = self._known.get(role), self._clock()
        if known is None or known.credentials is not credentials or now < known.refused_at + LOOK_AGAIN:
            return
        self._blocking.forget()
        self._known[role] = _Known(refused_at=now)

    async def aclose(self) -> None:
        """End background look-ups; whoever waits for one gets CredentialsError. Threads end with their current call."""
        self._closed = True
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        if flights:
            await asyncio.wait(flights)
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _wait(self, role: AssumedRole | None, now: datetime) -> Credentials:
        known = self._known.get(role)
        if known is not None and known.failure is not None and now < known.retry_at:
            raise CredentialsError(known.failure)
        flight = None if self._closed else self._look_up(role)
        if flight is not None:
            # Not awaited itself: a caller who gives up must not end the look-up for the others.
            await asyncio.wait({flight})
        if flight is None or flight.cancelled():
            cause = "the process is stopping: no more credentials are looked up"
            raise CredentialsError(cause)
        fresh = flight.result()
        if fresh.failure is not None or fresh.credentials is None:
            raise CredentialsError(fresh.failure or "no credentials")
        return fresh.credentials

    def _look_up(self, role: AssumedRole | None) -> asyncio.Task[_Known]:
        """The look-up under way, or a new one."""
        flight = self._flights.get(role)
        if flight is None:
            name = "aws-credentials" if role is None else f"aws-credentials {role.arn}"
            flight = self._flights[role] = start(self._fetch(role), name=name)
        return flight

    async def _fetch(self, role: AssumedRole | None) -> _Known:
        loop = asyncio.get_running_loop()
        try:
            fresh = await loop.run_in_executor(self._executor, self._blocking.fetch, role)
        except CredentialsError as error:
            before = self._known.get(role) or _Known()
            outcome = replace(before, failure=error.cause, retry_at=self._clock() + RETRY_AFTER)
        else:
            now = self._clock()
            refresh_at, stale_at = now + LOOK_AGAIN, now + STALE
            if fresh.expires is not None:
                refresh_at = now + (fresh.expires - now) * ROLE_REFRESH
                stale_at = fresh.expires - ROLE_SAFETY
            before = self._known.get(role) or _Known()
            outcome = _Known(fresh, refresh_at, stale_at, refused_at=before.refused_at)
        finally:
            del self._flights[role]
        self._known[role] = outcome
        return outcome


class _Blocking:
    """What botocore does, in the executor's threads. Making sessions and clients is not thread-safe; using them is."""

    def __init__(self, make_session: Callable[[], Any], region: str | None, sts_url: str | None) -> None:
        self._make_session = make_session
        self._region = region
        self._sts_url = sts_url
        self._lock = threading.Lock()
        self._session: Any = None
        self._sts: Any = None

    def fetch(self, role: AssumedRole | None) -> Credentials:
        try:
            return self._own() if role is None else self._assume(role)
        except CredentialsError:
            raise
        # Whatever a provider of credentials raises, and anyone may register one, means: no credentials.
        except Exception as error:
            raise CredentialsError(cause_of(error, role)) from error

    def unfound(self, vendor: Path | None) -> str | None:
        from botocore.exceptions import BotoCoreError

        try:
            written = self._make_session().get_scoped_config().keys() & _WRITTEN
        except BotoCoreError as error:
            return cause_of(error, None)
        return None if written or (vendor is not None and _on_ec2(vendor)) else _NOTHING_HERE

    def forget(self) -> None:
        """Begin anew: a session keeps what it once found for as long as that says that it holds."""
        with self._lock:
            self._session = self._sts = None

    def _own(self) -> Credentials:
        with self._lock:
            if self._session is None:
                self._session = self._make_session()
            found = self._session.get_credentials()
        if found is None:
            raise CredentialsError(_NO_CREDENTIALS)
        # May run a process or call an instance's metadata service: outside of the lock.
        frozen = found.get_frozen_credentials()
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token)

    def _assume(self, role: AssumedRole) -> Credentials:
        self._own()
        with self._lock:
            if self._sts is None:
                self._sts = self._make_sts()
        wanted = {"RoleArn": role.arn, "RoleSessionName": _SESSION_NAME}
        if role.external_id is not None:
            wanted["ExternalId"] = role.external_id
        given = self._sts.assume_role(**wanted)["Credentials"]
        return Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], given["Expiration"])

    def _make_sts(self) -> Any:
        region = self._region or self._session.get_config_variable("region")
        if region is None:
            cause = "no region to ask STS in: set AWS_DEFAULT_REGION"
            raise CredentialsError(cause)
        return self._session.create_client("sts", region, endpoint_url=self._sts_url, config=client_config())


def _on_ec2(vendor: Path) -> bool:
    """Whether the machine is one of EC2's; those on Xen (t2, m4) name that as their maker, and Amazon in the BIOS."""
    try:
        maker = vendor.read_bytes().strip()
        return maker == b"Amazon EC2" or (
            maker == b"Xen" and vendor.with_name("bios_version").read_bytes().strip().endswith(b".amazon")
        )
    except OSError:  # another system, or nothing for this user to read
        return False


_UNREACHABLE = "the service that gives AWS credentials can't be reached: check network and region"
_NO_CREDENTIALS = (
    "no AWS credentials found: give this process a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or"
    " AWS_PROFILE"
)
_NO_SSO = "the AWS SSO session is not usable: run `aws sso login`"
_NOTHING_HERE = (
    "no AWS credentials in environment or files: unless this machine has a role, requests that are to be signed fail;"
    " set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
)
_CAUSES: Mapping[str, str] = MappingProxyType(
    {
        "NoCredentialsError": _NO_CREDENTIALS,
        "PartialCredentialsError": "AWS credentials are incomplete: a key id without its secret, or reverse",
        "ProfileNotFound": "the AWS profile does not exist: check AWS_PROFILE and the AWS config file",
        "SSOError": _NO_SSO,
        "TokenRetrievalError": _NO_SSO,
        "HTTPClientError": _UNREACHABLE,
        "ConnectionError": _UNREACHABLE,
    }
)
"""By the name of botocore's exception or of one that it is derived from."""


def cause_of(error: Exception, role: AssumedRole | None) -> str:
    """Why there are no credentials, when `error` was raised: one line, without the error's own text where that may hold
    what a credential process printed."""
    from botocore import exceptions as botocore_errors

    if isinstance(error, botocore_errors.ClientError):
        code = error.response.get("Error", {}).get("Code", "unknown error")
        who = f"role {role.arn}" if role is not None else "credentials"
        return f"STS refused {who} ({code}): check the role's trust policy, its external id and this process's rights"
    if isinstance(error, botocore_errors.CredentialRetrievalError):
        return f"AWS credentials could not be read from {error.kwargs.get('provider')}: check the AWS config file"
    for name, text in _CAUSES.items():
        if isinstance(error, getattr(botocore_errors, name)):
            return text
    return f"AWS credentials could not be had: {type(error).__name__}"
