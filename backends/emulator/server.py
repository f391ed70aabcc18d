"""The emulator: every stand-in on one port, and the only file here that speaks to sockets.

Strategy: a request is read whole (up to the largest limit), noted in the journal, dispatched by its raw path, checked
(signature, then validation, then existence, in the order in which AWS refuses), and answered by the face that it is
for. Every answer carries `x-pointsman-emulator: stand-in`. Promises: nothing listens before `start` returns and
nothing runs after `stop` has returned; a client that goes frees its place.
"""

from __future__ import annotations

import datetime
import hashlib
import logging
import uuid
from collections.abc import Callable
from functools import partial
from urllib.parse import unquote

from aiohttp import web

from . import bedrock, engine, sagemaker
from .answers import Answer, Received
from .aws import BEDROCK, SAGEMAKER, SIGNING_NAMES, errors_of, stream_errors_of
from .bedrock import Bedrock
from .clock import Clock
from .config import EmulatorConfig
from .connection import Connection
from .container import Question
from .control import PREFIX, Control
from .desk import Call, serve
from .engine import Engine
from .hosting import Hosted
from .journal import Journal, Seen
from .platform import Platform
from .sagemaker import Sagemaker
from .signatures import Key, Signed, check

STAND_IN = ("x-pointsman-emulator", "stand-in")
_LOG = logging.getLogger(__name__)


def _utc() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class Emulator:
    """The stand-ins of one configuration. `wall` is real time, by which signatures are judged."""

    def __init__(
        self, config: EmulatorConfig, *, clock: Clock | None = None, wall: Callable[[], datetime.datetime] = _utc
    ) -> None:
        self.config = config
        self.clock = clock or Clock()
        self.models = {name: Hosted(config, name, self.clock) for name in config.models}
        self.journal = Journal(config.keep)
        self._wall = wall
        self._keys = {
            one.access_key_id: Key(one.access_key_id, one.secret_access_key, one.session_token)
            for one in config.credentials
        }
        self._sagemaker, self._bedrock, self._engine = Sagemaker(config), Bedrock(config), Engine()
        self._control = Control(self.models, self.clock, self.journal)
        self._limit = max(config.limits.sagemaker_body, config.limits.bedrock_body)
        self._seen = 0
        self._platform: Platform | None = None
        self._runner: web.AppRunner | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen, and return the port. Errors: OSError when the address cannot be had."""
        for service in SIGNING_NAMES:  # read botocore's models now, so that no call waits for it
            errors_of(service)
            stream_errors_of(service)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_response_prepare.append(_mark)
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.2, max_field_size=65_536
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        self._platform = Platform(self._sagemaker, self.config.limits, self.clock)
        return int(runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening and end what is being answered; without effect when not started."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        platform, self._platform = self._platform, None
        if platform is not None:
            await platform.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        received = await self._receive(request)
        outlet = Connection(request, received.request_id, self.clock)
        if received.path == PREFIX or received.path.startswith(f"{PREFIX}/"):
            await outlet.answer(self._control.answer(received))
            return outlet.response
        seen = self.journal.note(received, self.clock.now())
        outlet.seen = seen
        try:
            await self._dispatch(received, seen, outlet)
            seen.finished = "cut" if outlet.was_cut else "answered"
        except ConnectionError:
            seen.finished = "client gone"
        finally:
            seen.finished = seen.finished or "client gone"
        return outlet.response

    async def _receive(self, request: web.Request) -> Received:
        self._seen += 1
        kept, size = bytearray(), 0
        async for chunk in request.content.iter_chunked(1 << 18):
            size += len(chunk)
            if size <= self._limit:
                kept += chunk
        digest = hashlib.sha256(f"{self.config.seed}/{self._seen}/{self.clock.now()}".encode()).digest()
        return Received(
            number=self._seen,
            request_id=str(uuid.UUID(bytes=digest[:16], version=4)),
            method=request.method,
            target=request.raw_path,
            headers=tuple((name.decode("latin-1"), _text(value)) for name, value in request.raw_headers),
            body=bytes(kept) if size <= self._limit else b"",
            size=size,
        )

    async def _dispatch(self, received: Received, seen: Seen, outlet: Connection) -> None:
        words = received.path.split("/")[1:]
        post = received.method == "POST"
        match words:
            case ["endpoints", name, action] if post and action in sagemaker.OPERATIONS:
                await self._invoke_endpoint(received, seen, outlet, unquote(name), sagemaker.OPERATIONS[action])
            case ["model", name, action] if post and action in bedrock.OPERATIONS:
                await self._invoke_model(received, seen, outlet, unquote(name), bedrock.OPERATIONS[action])
            case ["_engine", name, *rest] if rest:
                await self._invoke_engine(received, seen, outlet, unquote(name), "/".join(rest))
            case _:
                headers = (("Content-Type", "application/json"), ("x-amzn-ErrorType", "UnknownOperationException"))
                await outlet.answer(Answer(404, headers, b'{"message":null}'))

    def _signed(self, received: Received, seen: Seen, service: str) -> tuple[str, str] | None:
        if self.config.signatures == "off":
            seen.signature = "off"
            return None
        signed = Signed(received.method, received.target, received.headers, received.body)
        if received.size != len(received.body):
            seen.signature = "body too large to check"
            return None
        refusal = check(signed, self._keys, SIGNING_NAMES[service], self.config.region, self._wall)
        seen.signature = "ok" if refusal is None else refusal.error
        if refusal is None:
            return None
        if self.config.signatures == "log":
            _LOG.warning("request %s: %s: %s", received.request_id, refusal.error, refusal.message)
            return None
        return refusal.error, refusal.message

    async def _invoke_endpoint(
        self, received: Received, seen: Seen, outlet: Connection, name: str, operation: str
    ) -> None:
        face = self._sagemaker
        seen.service, seen.operation = SAGEMAKER, operation
        if operation not in {sagemaker.UNARY, sagemaker.STREAM}:
            text = f"The stand-in does not offer {operation} on this endpoint."
            await outlet.answer(face.invalid(text))
            return
        refusal = self._signed(received, seen, SAGEMAKER)
        if refusal is not None:
            await outlet.answer(face.error(refusal[0], {"message": refusal[1]}))
            return
        invocation = sagemaker.read(received, operation, name)
        found: str | Answer = face.refused(invocation, received.size) or face.find(invocation)
        if isinstance(found, Answer):
            await outlet.answer(found)
            return
        seen.model = found
        question = sagemaker.question(received, invocation, self.clock.now())
        call = Call(received, self.models[found], operation == sagemaker.STREAM, question)
        live = None
        if call.hosted.config.container is not None and self._platform is not None:
            live = partial(self._platform.answer, invocation=invocation, outlet=outlet)
        seen.faults = await serve(call, face, outlet, live)

    async def _invoke_model(
        self, received: Received, seen: Seen, outlet: Connection, name: str, operation: str
    ) -> None:
        face = self._bedrock
        seen.service, seen.operation = BEDROCK, operation
        refusal = self._signed(received, seen, BEDROCK)
        if refusal is not None:
            await outlet.answer(face.error(refusal[0], {"message": refusal[1]}))
            return
        members = bedrock.read(received, operation)
        found: str | Answer = face.refused(operation, name, members, received.size) or face.find(name)
        if isinstance(found, Answer):
            await outlet.answer(found)
            return
        seen.model = found
        question = Question(body=received.body, call=received.request_id.replace("-", ""), now=self.clock.now())
        seen.faults = await serve(
            Call(received, self.models[found], operation == bedrock.STREAM, question), face, outlet
        )

    async def _invoke_engine(self, received: Received, seen: Seen, outlet: Connection, name: str, path: str) -> None:
        face, hosted = self._engine, self.models.get(name)
        seen.service, seen.operation, seen.model = "engine", path, name
        missing = Answer(404, (("Content-Type", "application/json"),), b'{"detail":"Not Found"}')
        if hosted is None or hosted.config.kind != "engine":
            await outlet.answer(missing)
            return
        if received.method == "GET" or path == "ping":
            await outlet.answer(face.get(hosted, path) or missing)
            return
        if path not in engine.PATHS or received.method != "POST":
            await outlet.answer(missing)
            return
        refused = face.refused(hosted, received, path)
        if refused is not None:
            await outlet.answer(refused)
            return
        question = face.question(received, path, self.clock.now())
        seen.faults = await serve(Call(received, hosted, engine.wants_stream(received.body), question), face, outlet)


async def _mark(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers[STAND_IN[0]] = STAND_IN[1]
    response.headers.pop("Server", None)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
