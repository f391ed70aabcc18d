"""Which handlers are in force: reloads, bad versions, changes of files, requests on their way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from backends.base import Call
from backends.meters import Meters
from policies.errors import PolicyError
from policies.table import HandlerSpec, Route
from proxy.handlers.errors import HandlerError
from proxy.handlers.guest.values import Question, Reply
from proxy.handlers.passages import Passage
from proxy.handlers.registry import Handlers
from proxy.handlers.runs import Run
from tests.proxy.handlers.customers import Handled, handled, write
from tests.proxy.parts import TextSource, invocation


def says(word: str) -> str:
    return f"def before(call): return call.reply({word!r})\n"


async def said(proxy: Handled, endpoint: str = "chat") -> bytes:
    return (await proxy.ask(endpoint=endpoint))[0].body


class Asks:
    """A request of which nothing else is seen."""

    deadline = 0.0

    async def invoke(self, question: Question) -> Reply:
        raise NotImplementedError


def opened(handlers: Handlers, route: Route) -> Passage:
    """A request that has begun."""
    return handlers.open(route, Call(invocation(), b"", None, None, None), Asks())


async def look(handlers: Handlers, ask: Callable[[list[str]], None] | None = None) -> None:
    """One look at the files, as `watch` does it."""
    looks = 0

    async def pause(_: float) -> None:
        nonlocal looks
        looks += 1
        if looks > 1:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        await handlers.watch(pause, ask)


@pytest.mark.parametrize("run", ["inline", "thread", "process"])
async def test_new_version_takes_over(tmp_path: Path, run: str) -> None:
    """A changed file, or a changed sibling, is in force after the next look."""
    async with handled(tmp_path, says("one"), f"run: {run}") as proxy:
        assert await said(proxy) == b"one"
        write(tmp_path, "import words\ndef before(call): return call.reply(words.word)\n")
        write(tmp_path, "word = 'two'\n", "words.py")
        await look(proxy.services.handlers)
        assert await said(proxy) == b"two"
        write(tmp_path, "word = 'three'\n", "words.py")
        await look(proxy.services.handlers)
        assert await said(proxy) == b"three"


@pytest.mark.parametrize("run", ["inline", "thread", "process"])
async def test_bad_version_keeps_the_old(tmp_path: Path, run: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is complained of once, shown as a problem, and gone when a good version comes."""
    async with handled(tmp_path, says("one"), f"run: {run}") as proxy:
        handlers = proxy.services.handlers
        write(tmp_path, "raise ValueError('broken')\n")
        with caplog.at_level(logging.ERROR):
            await look(handlers)
            await look(handlers)
        assert await said(proxy) == b"one"
        assert caplog.text.count("a changed handler is not used") == 1
        assert "ValueError: broken" in (handlers.problem or "")
        write(tmp_path, says("two"))
        await look(handlers)
        assert (await said(proxy), handlers.problem) == (b"two", None)


async def test_bad_version_that_is_taken_back(tmp_path: Path) -> None:
    """The file as it was is no problem any more, and nothing is loaded anew."""
    async with handled(tmp_path, says("one")) as proxy:
        file, handlers = tmp_path / "model.py", proxy.services.handlers
        good, status = file.read_text(), file.stat()
        file.write_text("broken(\n")
        await look(handlers)
        assert handlers.problem
        file.write_text(good)
        import os

        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        await look(handlers)
        assert handlers.problem is None


async def test_whoever_has_to_ask_waits_for_the_word(tmp_path: Path) -> None:
    """It asks with every look, also for what it could not use: whoever it asks may want it to try again."""
    async with handled(tmp_path, says("one")) as proxy:
        handlers, asked = proxy.services.handlers, list[list[str]]()
        write(tmp_path, says("two"))
        for _ in range(2):
            await look(handlers, asked.append)
        assert (len(asked), asked[0] == asked[-1], await said(proxy)) == (2, True, b"one")
        assert await proxy.services.policy.reload()
        await look(handlers, asked.append)
        assert (len(asked), await said(proxy)) == (2, b"two")
        write(tmp_path, "broken(\n")
        await look(handlers, asked.append)
        assert not await proxy.services.policy.reload()
        await look(handlers, asked.append)
        assert (len(asked), await said(proxy)) == (4, b"two")
        assert asked[3] == asked[2] != asked[1]


async def test_policy_that_cannot_start_without_its_handler(tmp_path: Path) -> None:
    """A proxy is not ready, and does not begin, before its handlers are loaded; the report has place and reason."""
    with pytest.raises(PolicyError, match=r"endpoints\.chat\.handler: .*model\.py is not there"):
        async with handled(tmp_path, None):
            pass


async def test_reload_with_a_bad_handler_changes_nothing(tmp_path: Path) -> None:
    """The new policy is refused as a whole: the old one and its handlers go on."""
    async with handled(tmp_path, says("one")) as proxy:
        policy, source = proxy.services.policy, proxy.services.policy._source
        assert isinstance(source, TextSource)
        before = policy.current.label
        source.text = source.text.replace("alone: {", "alone: {handler: {path: bad.py, run: inline}, ")
        write(tmp_path, "x = 1\n", "bad.py")
        assert not await policy.reload()
        assert "defines none of the functions" in (policy.problem or "")
        assert (policy.current.label, await said(proxy)) == (before, b"one")
        write(tmp_path, says("two"), "bad.py")
        assert await policy.reload()
        assert (await said(proxy, "alone"), proxy.services.handlers.problem) == (b"two", None)


async def test_reload_of_the_same_policy_takes_new_files(tmp_path: Path) -> None:
    """SIGHUP is enough for a new model.py."""
    async with handled(tmp_path, says("one")) as proxy:
        write(tmp_path, says("two"))
        assert await proxy.services.policy.reload()
        assert await said(proxy) == b"two"


async def test_equal_specs_share_one_handler(tmp_path: Path) -> None:
    """Two endpoints with the same handler cost one; a different limit is another."""
    more = """
    two: {serve_from: first, handler: {path: model.py, run: inline}}
    three: {serve_from: first, handler: {path: model.py, run: inline, timeout: 1s}}
    """
    async with handled(tmp_path, says("one"), more=more) as proxy:
        assert len(proxy.services.handlers._entries) == 2
        assert [await said(proxy, name) for name in ("chat", "two", "three")] == [b"one"] * 3


async def test_request_on_its_way_ends_where_it_began(tmp_path: Path) -> None:
    """Its `after` is the old version's; only then is that taken down."""
    source = "def before(call): ...\ndef after(reply): return '{}'\n"
    async with handled(tmp_path, source.format("old")) as proxy:
        handlers = proxy.services.handlers
        write(tmp_path, source.format("new"))
        go = asyncio.Event()

        class Waiting:
            async def invoke(self, *_: object) -> object:
                await go.wait()
                from backends.base import Reply

                return Reply(b"x")

        proxy.services.backends["vllm"] = Waiting()  # type: ignore[index]  # a dict of this test's own
        waiting = asyncio.ensure_future(proxy.ask())
        await asyncio.sleep(0)
        await look(handlers)
        assert len(handlers._leaving) == 1
        go.set()
        assert (await waiting)[0].body == b"old"
        assert (await proxy.ask())[0].body == b"new"
        await asyncio.gather(*handlers._leaving)


async def test_old_version_is_not_waited_for_without_end(tmp_path: Path) -> None:
    """A request that outlives the drain time loses its handler."""
    async with handled(tmp_path, says("one")) as proxy:
        handlers = proxy.services.handlers
        handlers._drain = 0.01
        route = proxy.services.policy.current.table.routes["chat", None]
        passage = opened(handlers, route)
        write(tmp_path, says("two"))
        await look(handlers)
        await asyncio.gather(*handlers._leaving)
        passage.close()
        assert await said(proxy) == b"two"


async def test_end_lets_old_versions_be_taken_down(tmp_path: Path) -> None:
    """The process ends while an old version's workers do: they are waited for to their end, and nothing is left."""
    began, ended, go = asyncio.Event(), list[str](), asyncio.Event()

    class Slow:
        steps = frozenset({"before"})

        def __init__(self, version: str) -> None:
            self.version = version

        async def stop(self) -> None:
            began.set()
            await go.wait()
            ended.append(self.version)

    async def load(spec: HandlerSpec, file: Path, version: str) -> Run:
        return cast("Run", Slow(version))

    async with handled(tmp_path, says("one")) as proxy:
        table = proxy.services.policy.current.table
    handlers = Handlers(tmp_path, load, Meters(), asyncio.get_running_loop().time)
    await handlers.use(table)
    write(tmp_path, says("another"))
    await handlers.use(table)
    await began.wait()
    stopping = asyncio.ensure_future(handlers.stop())
    await asyncio.sleep(0)
    go.set()
    await stopping
    assert len(set(ended)) == 2


async def test_handler_that_has_left(tmp_path: Path) -> None:
    """A request with the table of a policy that has just gone is refused, not lost."""
    async with handled(tmp_path, says("one")) as proxy:
        route = proxy.services.policy.current.table.routes["chat", None]
        await proxy.services.handlers.stop()
        with pytest.raises(HandlerError) as caught:
            opened(proxy.services.handlers, route)
        assert (caught.value.reason, caught.value.status) == ("refused", 503)


async def test_look_at_the_files_is_bounded(tmp_path: Path) -> None:
    """A handler in a folder that holds the world is watched by its own file and by what is near."""
    from proxy.handlers.registry import WATCHED_FILES, _watched

    for folder in (".venv", "site-packages", "a/b/c/d"):
        write(tmp_path / folder, "", "hidden.py")
    write(tmp_path / "a" / "b" / "c", "", "seen.py")
    found = {str(path.relative_to(tmp_path)) for path in _watched(write(tmp_path, ""))}
    assert found == {"model.py", "requirements.txt", "a/b/c/seen.py"}
    for number in range(3):
        for name in range(WATCHED_FILES):
            write(tmp_path / f"z{number}", "", f"f{name}.py")
    assert len(list(_watched(tmp_path / "model.py"))) < 2 * WATCHED_FILES + 10
