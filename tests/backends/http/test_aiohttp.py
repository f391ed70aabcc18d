"""What our edge takes for granted of aiohttp's inside, held against the aiohttp that is installed.

`backends/http/inbound.py` puts a loop of its own in the place of aiohttp's, over its parser, its queue of requests and
its timers, none of which aiohttp promises to keep. Each test that fails here says which part has changed and where it
is used. Then read the named place of aiohttp beside ours before the new version is let in: what the edge does would
mostly fail as well, but as a hang or a wrong answer.
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from aiohttp import HttpVersion11, StreamReader, web, web_protocol
from aiohttp.web_protocol import RequestHandler, _ErrInfo

OURS = Path(__file__).parents[3] / "backends" / "http"
KEEPS = 7.0
LINGERS = 3.0
REQUEST = b"POST /path HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"


class Part(NamedTuple):
    """Something private of aiohttp's: whose it is, where aiohttp uses it, and what we do with it."""

    of: str
    see: str
    ours: str


CONNECTION, BASE, READER, SERVER, MODULE = "RequestHandler", "BaseProtocol", "StreamReader", "Server", "web_protocol"
PARTS = {
    "_ErrInfo": Part(MODULE, "RequestHandler.data_received", "inbound.py refuses what stands in a request's place"),
    "_buffer": Part(READER, "StreamReader.read_nowait", "exchange.py takes a body in one piece out of it"),
    "_buffer_paused": Part(BASE, "_pause_reading_for_buffer", "inbound.py frees a place in the queue of requests"),
    "_close": Part(CONNECTION, "RequestHandler.close", "inbound.py ends after the answer"),
    "_connections": Part(SERVER, "Server.connection_made", "inbound.py counts the connections that are open"),
    "_drain_helper": Part(BASE, "BaseProtocol._drain_helper", "inbound.py waits for a slow reader"),
    "_eof": Part(READER, "StreamReader.feed_eof", "exchange.py knows by it that a body is whole"),
    "_exception": Part(READER, "StreamReader.set_exception", "exchange.py knows by it that a body is broken"),
    "_force_close": Part(CONNECTION, "RequestHandler.force_close", "inbound.py ends at once"),
    "_keepalive_handle": Part(CONNECTION, "RequestHandler._process_keepalive", "inbound.py times an idle connection"),
    "_keepalive_timeout": Part(CONNECTION, "RequestHandler.__init__", "inbound.py times an idle connection"),
    "_kwargs": Part(SERVER, "Server.__call__", "inbound.py makes its own connections with them"),
    "_lingering_time": Part(CONNECTION, "RequestHandler.start", "inbound.py reads what is left of a body"),
    "_loop": Part(BASE, "BaseProtocol.__init__", "inbound.py"),
    "_messages": Part(CONNECTION, "RequestHandler.data_received", "inbound.py takes requests out of it"),
    "_msg_queue_resume_size": Part(CONNECTION, "RequestHandler.start", "inbound.py reads on when so few are left"),
    "_next_keepalive_close_time": Part(
        CONNECTION, "RequestHandler._process_keepalive", "inbound.py times an idle connection"
    ),
    "_parser": Part(BASE, "RequestHandler.start", "inbound.py tells it that a request was taken"),
    "_pause_reading_for_buffer": Part(BASE, "RequestHandler.data_received", "inbound.py reads no further ahead"),
    "_paused": Part(BASE, "BaseProtocol.pause_writing", "exchange.py and inbound.py ask whether a client reads"),
    "_process_keepalive": Part(CONNECTION, "RequestHandler.start", "inbound.py times an idle connection"),
    "_request_count": Part(CONNECTION, "RequestHandler.data_received", "inbound.py sees by it that a head has come"),
    "_request_in_progress": Part(CONNECTION, "RequestHandler.shutdown", "inbound.py says whether one is"),
    "_resume_reading_if_drained": Part(CONNECTION, "RequestHandler.start", "inbound.py reads on"),
    "_size": Part(READER, "StreamReader.feed_data", "inbound.py sees by it how much of a body waits"),
    "_task_handler": Part(CONNECTION, "RequestHandler.connection_made", "inbound.py's loop is this task"),
    "_upgraded": Part(BASE, "RequestHandler.data_received", "inbound.py ends, since it has no other protocol"),
    "_waiter": Part(CONNECTION, "RequestHandler.data_received", "inbound.py waits on it for the next request"),
}


def moved(name: str, what: str) -> str:
    """The sentence of a test that fails."""
    part = PARTS[name]
    return (
        f"aiohttp {aiohttp.__version__}: {part.of}.{name} {what}. Read {part.see} in aiohttp, then mend "
        f"backends/http/: {part.ours}"
    )


class Line(asyncio.Transport):
    """A transport that only remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = True
        self.closed = False

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def close(self) -> None:
        self.closed = True


class Bare(RequestHandler):
    """aiohttp's connection without a loop that serves."""

    __slots__ = ()

    async def start(self) -> None:
        await asyncio.get_running_loop().create_future()


async def unused(request: web.BaseRequest) -> web.StreamResponse:
    raise NotImplementedError


@pytest.fixture
async def server() -> web.Server:
    return web.Server(unused, keepalive_timeout=KEEPS, lingering_time=LINGERS)


@pytest.fixture
async def connection(server: web.Server) -> AsyncIterator[Any]:
    """A connection that has begun; `Any`, since all that is asked of it is private."""
    found: Any = Bare(server, loop=asyncio.get_running_loop(), **server._kwargs)
    found.connection_made(Line())
    yield found
    task = found._task_handler
    found.connection_lost(None)
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def foreign(path: Path) -> set[str]:
    """Private names that a file asks of others, or imports."""
    tree = ast.parse(path.read_text())
    asked, own = set(), set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name):
                asked.add(name)
            case ast.ImportFrom(names=names):
                asked |= {each.name for each in names}
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                own.add(name)
            case ast.Assign(targets=[ast.Name(id="__slots__")], value=ast.Tuple(elts=slots)):
                own |= {str(ast.literal_eval(slot)) for slot in slots}
            case _:
                pass
    return {name for name in asked - own if name.startswith("_") and not name.startswith("__")}


def test_each_private_part_that_we_use_is_known_here() -> None:
    """One that is used and not in PARTS is held by nothing; one that is used no more would be held for nothing."""
    assert foreign(OURS / "inbound.py") | foreign(OURS / "exchange.py") == set(PARTS)


@pytest.mark.parametrize("name", PARTS)
async def test_each_part_is_there(name: str, server: web.Server, connection: Any) -> None:
    """Of the object that has it when we ask."""
    reader = StreamReader(connection, 2**16, loop=asyncio.get_running_loop())
    owners = {CONNECTION: connection, BASE: connection, READER: reader, SERVER: server, MODULE: web_protocol}
    assert hasattr(owners[PARTS[name].of], name), moved(name, "is gone")


async def test_a_request_is_put_into_the_queue_and_told_of(connection: Any) -> None:
    """As its head and its body, which lies there in one piece when it came so; and who waits is told."""
    waiter = connection._waiter = asyncio.get_running_loop().create_future()
    connection.data_received(REQUEST)
    assert waiter.done(), moved("_waiter", "is not told of a request")
    assert (connection._request_count, len(connection._messages)) == (1, 1), moved("_request_count", "does not count")
    message, payload = connection._messages.popleft()
    head = (message.method, message.path, message.version, message.headers["host"], message.chunked)
    assert head == ("POST", "/path", HttpVersion11, "h", False), moved("_messages", "has other heads")
    assert message.version is HttpVersion11, moved("_messages", "has versions that are no constants")
    assert message.should_close is False
    assert payload.__class__ is StreamReader, moved("_messages", "has bodies of another class")
    assert list(payload._buffer) == [b"{}"], moved("_buffer", "is no queue of pieces")
    assert payload._eof is True, moved("_eof", "is not set with a body's end")
    assert payload._exception is None, moved("_exception", "is set without a reason")
    assert payload.is_eof(), moved("_eof", "is not what `is_eof` says")
    assert payload.read_nowait(-1) == b"{}", moved("_buffer", "is not what `read_nowait` reads")
    error = ConnectionError()
    payload.set_exception(error)
    assert payload._exception is error, moved("_exception", "is not set by `set_exception`")


async def test_what_is_no_request_stands_in_its_place(connection: Any) -> None:
    """As an `_ErrInfo`, with the status and what was wrong."""
    connection.data_received(b"\x16\x03\x01 garbage\r\n\r\n")
    ((wrong, payload),) = connection._messages
    assert wrong.__class__ is _ErrInfo, moved("_ErrInfo", "does not stand for what is no request")
    assert (wrong.status, isinstance(wrong.exc, Exception)) == (400, True), moved("_ErrInfo", "has other fields")
    assert payload.is_eof(), moved("_ErrInfo", "comes with a body")


async def test_requests_before_it_in_the_same_read_are_not_begun(connection: Any) -> None:
    """docs/security.md says so: should a new parser hand them out, they would be served, and then the refusal said."""
    connection.data_received(REQUEST * 2 + b"GARBAGE\r\n\r\n")
    assert [message.__class__ for message, _ in connection._messages] == [_ErrInfo], moved(
        "_messages", "has what came before the error: take the sentence out of docs/security.md"
    )


async def test_a_full_queue_holds_the_transport_until_half_of_it_is_taken(connection: Any) -> None:
    """Who takes a request tells the parser, and reads on once few enough are left."""
    line = connection.transport
    while not connection._buffer_paused:
        assert connection._request_count < 10_000, moved("_buffer_paused", "is not set by a full queue")
        connection.data_received(REQUEST)
    assert not line.reads, moved("_buffer_paused", "does not go with a transport that is paused")
    assert 0 < connection._msg_queue_resume_size < len(connection._messages), moved("_msg_queue_resume_size", "differs")
    while len(connection._messages) > connection._msg_queue_resume_size:
        connection._messages.popleft()
        connection._parser.message_consumed()
    connection._resume_reading_if_drained()
    assert (connection._buffer_paused, line.reads) == (False, True), moved("_resume_reading_if_drained", "does not")


async def test_an_end_is_told(connection: Any) -> None:
    """`close` and `force_close` set what our loop looks at, and cancel what it waits on."""
    loop = asyncio.get_running_loop()
    for end, name in ((connection.close, "_close"), (connection.force_close, "_force_close")):
        waiter = connection._waiter = loop.create_future()
        end()
        assert getattr(connection, name) is True, moved(name, "is not set")
        assert waiter.cancelled(), moved("_waiter", f"is not cancelled by {end.__name__}")


async def test_an_idle_connection_is_closed_when_its_time_is_over(connection: Any) -> None:
    """Not before the moment that we set, and only while something is waited for."""
    loop, line = asyncio.get_running_loop(), connection.transport
    assert (connection._keepalive_timeout, connection._lingering_time) == (KEEPS, LINGERS)
    assert connection._keepalive_handle is not None, moved("_keepalive_handle", "is not set for a new connection")
    connection._waiter = loop.create_future()
    connection._next_keepalive_close_time = loop.time() + 60
    connection._keepalive_handle.cancel()
    connection._process_keepalive()
    assert not line.closed, moved("_next_keepalive_close_time", "is not waited for")
    assert connection._keepalive_handle is not None, moved("_keepalive_handle", "is not set again")
    connection._keepalive_handle.cancel()
    connection._next_keepalive_close_time = 0.0
    connection._process_keepalive()
    assert line.closed, moved("_process_keepalive", "does not close")


async def test_a_writer_waits_for_a_slow_reader(connection: Any) -> None:
    """From `pause_writing` to `resume_writing`."""
    connection.pause_writing()
    assert connection._paused, moved("_paused", "is not set")
    waits = asyncio.ensure_future(connection._drain_helper())
    await asyncio.sleep(0)
    assert not waits.done(), moved("_drain_helper", "does not wait")
    connection.resume_writing()
    assert not connection._paused, moved("_paused", "stays")
    await waits


async def test_another_protocol_is_noticed(connection: Any) -> None:
    """A client that wants one has no further request here."""
    connection.data_received(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert connection._upgraded is True, moved("_upgraded", "is not set")


async def test_a_server_knows_its_connections_until_their_task_ends(server: web.Server, connection: Any) -> None:
    """By the connection; and the options that it was made with are those of a connection."""
    assert list(server._connections) == [connection], moved("_connections", "has other keys")
    assert server._kwargs == {"keepalive_timeout": KEEPS, "lingering_time": LINGERS}, moved("_kwargs", "differ")
    task = connection._task_handler
    assert isinstance(task, asyncio.Task), moved("_task_handler", "is no task")
    server.connection_lost(connection, None)
    assert list(server._connections) == [connection], moved("_connections", "forgets before the task has ended")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0)
    assert not server._connections, moved("_connections", "keeps what has ended")
