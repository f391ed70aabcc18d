"""The composition root: the only place that constructs the parts of a process, with the real clock and randomness."""

from __future__ import annotations

import random
import sys
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from backends.aws import AwsCredentials, CredentialSource, ObjectReader, StaticCredentials
from backends.bedrock import BedrockBackend
from backends.book import Book
from backends.endpoint import EndpointBackend
from backends.gates import Gates
from backends.http.transport import HttpTransport
from backends.meters import Meters
from backends.translated import Translated
from backends.vllm import VllmBackend
from backends.wire.sigv4 import Credentials, Signer

from .access_log import AccessLog
from .chat_templates import template_reader
from .handlers.loads import Loader
from .handlers.registry import Handlers
from .policy_source import FileSource, InForce, ObjectSource, Policy, Source, UnreadableError
from .services import Services
from .settings import Settings
from .telemetry import Telemetry


@asynccontextmanager
async def serving(
    settings: Settings, variables: Mapping[str, str], credentials: CredentialSource | None = None
) -> AsyncIterator[Services]:
    """The parts of a proxy, with its policy loaded. `credentials`: instead of boto3's chain.

    Raises PolicyError or UnreadableError when the policy can't be used, OSError when the log can't be opened.
    """
    async with AsyncExitStack() as parts:
        log = _log(settings.log, parts)
        transport = HttpTransport()
        parts.push_async_callback(transport.aclose)
        if credentials is None:
            credentials = chain = AwsCredentials()
            parts.push_async_callback(chain.aclose)
        signer = Signer()
        book, gates, meters = Book(random.random), Gates(), Meters(version("pointsman"))
        telemetry = Telemetry(settings.otel, settings.sample, random.random, version("pointsman"))
        parts.callback(telemetry.shutdown)

        def swapped(policy: InForce) -> None:
            gates.keep(policy.table.targets)
            book.keep(policy.table.targets, (route.key for route in policy.table.routes.values()))
            meters.policy(policy.table.digest, policy.generation)

        own = frozenset({(settings.host, settings.port), ("127.0.0.1", settings.admin_port)})
        loader = Loader(meters, time.monotonic, variables, _cache(settings))
        handlers = Handlers(_folder(settings), loader.load, meters, time.monotonic, settings.drain)
        parts.push_async_callback(handlers.stop)
        beside = template_reader(_folder(settings))
        policy = Policy(_source(settings), variables, own, swapped, meters.reload, handlers.use, beside)
        await policy.load()
        yield Services(
            policy=policy,
            backends={
                "endpoint": Translated(EndpointBackend(transport, credentials, signer, _utc), time.time),
                "bedrock": Translated(BedrockBackend(transport, credentials, signer, _utc), time.time),
                "vllm": Translated(VllmBackend(transport), time.time),
            },
            handlers=handlers,
            book=book,
            gates=gates,
            meters=meters,
            telemetry=telemetry,
            log=log,
            now=time.monotonic,
            wall=time.time,
            draw=random.random,
            new_id=_new_id,
            body_limit=settings.body_limit,
        )


def static_credentials(access_key: str, secret_key: str) -> CredentialSource:
    """Fixed credentials, for targets that are stand-ins."""
    return StaticCredentials(Credentials(access_key, secret_key, None, None))


def _cache(settings: Settings) -> Path:
    return Path(settings.handler_cache).expanduser()


def _folder(settings: Settings) -> Path:
    """Where relative paths of handlers start: beside the policy, or here when it is in S3."""
    return Path() if settings.policy.startswith("s3://") else Path(settings.policy).absolute().parent


def _source(settings: Settings) -> Source:
    if not settings.policy.startswith("s3://"):
        return FileSource(settings.policy)

    reader = ObjectReader()

    async def read(url: str, whole: bool) -> tuple[str, str]:
        try:
            return await reader.read(url, whole=whole)
        except OSError as error:
            msg = f"{url}: {error}"
            raise UnreadableError(msg) from error

    return ObjectSource(settings.policy, settings.poll, read)


def _log(path: str, parts: AsyncExitStack) -> AccessLog:
    log = AccessLog(
        sys.stdout.buffer if path == "-" else parts.enter_context(Path(path).open("ab"))  # noqa: SIM115 - it does
    )
    parts.callback(log.close)
    return log


def _utc() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    """A random request id in UUID form, as AWS's are; without the system call that `uuid4` makes each time."""
    return str(uuid.UUID(int=random.getrandbits(128), version=4))
