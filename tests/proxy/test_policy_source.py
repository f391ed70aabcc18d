"""Reloads: a good policy is swapped in whole, a bad one keeps the old and says why."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from policies.choose import first_plan
from policies.errors import PolicyError, Problem
from policies.table import RouteTable
from proxy.chat_templates import template_reader, template_stamp
from proxy.policy_source import FileSource, InForce, ObjectSource, Overheard, Policy, ToldSource, UnreadableError

from .parts import POLICY, TextSource

CHANGED = POLICY.replace("owner: us", "owner: them")
TEMPLATED = """
apiVersion: pointsman/v1
account: "123456789012"
targets:
  text: {kind: vllm, url: "http://127.0.0.1:1", model: m, speaks: openai-completions}
endpoints:
  x: {serve_from: text, clients_speak: openai-chat, translate: {chat_template: t.jinja}}
"""


def policy_of(source: TextSource | FileSource | ObjectSource, told: list[object]) -> Policy:
    return Policy(source, {}, frozenset({("127.0.0.1", 8080)}), told.append, told.append)


async def test_a_changed_policy_is_swapped_in() -> None:
    """The generation grows and the digest follows the content; holders of the old table keep it."""
    told: list[object] = []
    source = TextSource(POLICY)
    policy = policy_of(source, told)
    await policy.load()
    before = policy.current
    source.text = CHANGED
    assert await policy.reload() is True
    assert (before.generation, policy.current.generation) == (1, 2)
    assert before.label != policy.current.label
    assert [type(event) for event in told] == [InForce, InForce, bool]


async def test_the_same_policy_again_changes_nothing() -> None:
    """A touched file is no new generation."""
    policy = policy_of(TextSource(POLICY + "# a comment\n"), [])
    await policy.load()
    before = policy.current
    assert await policy.reload() is True
    assert policy.current is before


async def test_plans_that_are_the_same_for_each_request_are_made_once() -> None:
    """Where there is nothing to choose a plan is ready, the one that would be made; a split or a fallback has none."""
    more = "  split: {split: {first: 1, second: 1}}\n  spare: {serve_from: first, fallback: [second]}\n"
    policy = policy_of(TextSource(POLICY.rstrip("\n") + "\n" + more + "  plain: {serve_from: first}\n"), [])
    await policy.load()
    table, usual = policy.current.table, policy.current.usual
    assert "plain" in usual
    assert not {"split", "spare"} & set(usual)
    for (endpoint, component), route in table.routes.items():
        made = first_plan(route, {}, None, lambda: 0.5) if route.sole is not None else None
        assert usual.get(endpoint if component is None else f"{endpoint}/{component}") == made


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (POLICY + "surprise: 1\n", "surprise"),
        ("", "apiVersion"),
        (POLICY.replace("http://127.0.0.1:1", "http://localhost:8080"), "8080"),
    ],
)
async def test_a_bad_policy_keeps_the_old_one(text: str, word: str) -> None:
    """What serves stays, and the problem names the place, until a good text comes."""
    told: list[object] = []
    source = TextSource(POLICY)
    policy = policy_of(source, told)
    await policy.load()
    before = policy.current
    source.text = text
    assert await policy.reload() is False
    assert policy.current is before
    assert policy.problem is not None
    assert word in policy.problem
    assert told[-1] is False
    source.text = CHANGED
    assert await policy.reload() is True
    assert policy.problem is None


async def test_a_bad_policy_at_the_start_is_an_error() -> None:
    """There is no old one to keep."""
    policy = policy_of(TextSource("apiVersion: pointsman/v1"), [])
    with pytest.raises(PolicyError):
        await policy.load()


async def test_a_file_is_seen_to_change_and_to_be_replaced(tmp_path: Path) -> None:
    """In place, by rename, and by swapping a symbolic link as Kubernetes does."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    versions = [await FileSource(str(path)).version()]
    path.write_text(CHANGED)
    versions.append(await FileSource(str(path)).version())
    (tmp_path / "other").write_text(CHANGED)
    (tmp_path / "other").rename(path)
    versions.append(await FileSource(str(path)).version())
    assert len(set(versions)) == 3


async def test_a_missing_file_names_itself(tmp_path: Path) -> None:
    """The error says which file, and what about it."""
    with pytest.raises(UnreadableError, match=r"gone\.yaml: No such file"):
        await FileSource(str(tmp_path / "gone.yaml")).read()


async def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are named by their place."""
    path = tmp_path / "policy.yaml"
    path.write_bytes(b"apiVersion:\n \xff")
    with pytest.raises(UnreadableError, match=r"policy\.yaml:2: not UTF-8 at byte 13"):
        await FileSource(str(path)).read()


async def test_watching_reloads_when_the_version_changes_and_survives_an_unreadable_source() -> None:
    """Between two looks nothing happens; an unreadable source is a problem, not an end."""
    source = TextSource(POLICY)
    policy = policy_of(source, [])
    await policy.load()
    looks: asyncio.Queue[None] = asyncio.Queue()
    looked = asyncio.Event()

    async def pause(seconds: float) -> None:
        looked.set()
        await looks.get()

    async def look() -> None:
        looked.clear()
        looks.put_nowait(None)
        await looked.wait()

    task = asyncio.create_task(policy.watch(pause))
    await looked.wait()
    source.broken = UnreadableError("the bucket is gone")
    await look()
    found = [policy.problem]
    source.broken = None
    await look()
    found.append(policy.problem)
    source.text = CHANGED
    await look()
    found.append(policy.problem)
    assert found == ["the bucket is gone", None, None]
    assert policy.current.generation == 2
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_text_that_could_not_be_had_is_asked_for_again(caplog: pytest.LogCaptureFixture) -> None:
    """At each look until it can, although its version has been seen; that it can't is told once."""
    text, version, broken, looks = POLICY, "1", False, 0

    async def read(url: str, whole: bool) -> tuple[str, str]:
        if whole and broken:
            message = "S3 answered SlowDown"
            raise UnreadableError(message)
        return version, text if whole else ""

    async def pause(seconds: float) -> None:
        nonlocal text, version, broken, looks
        looks += 1
        text, version, broken = CHANGED, "2", looks < 4
        if looks == 6:
            raise asyncio.CancelledError

    told: list[object] = []
    policy = policy_of(ObjectSource("s3://bucket/policy.yaml", 10.0, read), told)
    await policy.load()
    with pytest.raises(asyncio.CancelledError):
        await policy.watch(pause)
    assert (policy.current.generation, policy.problem) == (2, None)
    assert [event for event in told if isinstance(event, bool)] == [False, True]
    assert caplog.text.count("S3 answered SlowDown") == 1


async def test_an_object_is_asked_for_its_version_without_its_text() -> None:
    """Polling reads the ETag only."""
    asked: list[bool] = []

    async def read(url: str, whole: bool) -> tuple[str, str]:
        asked.append(whole)
        return "etag", POLICY if whole else ""

    policy = policy_of(ObjectSource("s3://b/k", 10.0, read), [])
    await policy.load()
    assert asked == [False, True]


async def test_what_a_policy_needs_is_made_ready_first() -> None:
    """A table that can't be made ready is refused, and nothing was told of it; the same table is asked for again."""
    told: list[object] = []
    asked: list[object] = []
    source = TextSource(POLICY)

    async def prepare(table: RouteTable) -> None:
        asked.append(table.digest)
        if len(asked) == 2:
            raise PolicyError((Problem("endpoints.chat.handler", 1, "no"),))

    policy = Policy(source, {}, frozenset(), told.append, lambda _: None, prepare)
    await policy.load()
    before = policy.current
    source.text = CHANGED
    assert await policy.reload() is False
    assert (policy.current, len(told)) == (before, 1)
    assert "endpoints.chat.handler: no" in (policy.problem or "")
    assert await policy.reload() is True
    assert len(asked) == 3


async def test_a_worker_takes_the_generation_it_is_told() -> None:
    """One that starts late, or missed a policy, numbers what it is told as every other process does."""
    source = ToldSource("policy.yaml", POLICY, {"a.jinja": "hello"}, 4)
    policy = Policy(source, {}, frozenset(), lambda _: None, lambda _: None, number=source.number)
    await policy.load()
    assert policy.current.generation == 4
    source.text, source.generation = CHANGED, 9
    assert await policy.reload() is True
    assert policy.current.generation == 9
    assert await source.version() == CHANGED
    source.generation = 10  # another text came and went, which this process could not use
    assert await policy.reload() is True
    assert policy.current.generation == 10
    assert source.read_file("a.jinja") == "hello"
    with pytest.raises(FileNotFoundError):
        source.read_file("b.jinja")


async def test_what_was_read_is_remembered_for_those_who_are_told() -> None:
    """The text and the files that were read with it; files of the text before are forgotten."""
    overheard = Overheard(TextSource("one"), lambda name: name.upper(), lambda name: "")
    assert await overheard.read() == "one"
    assert overheard.read_file("a") == "A"
    assert (overheard.text, overheard.files, overheard.name) == ("one", {"a": "A"}, "policy.yaml")
    assert await overheard.version() == str(hash("one"))
    await overheard.read()
    assert overheard.files == {}


async def test_a_file_that_changes_alone_is_another_version() -> None:
    """Seen once for each change, also of one that could not be read; what is no longer named is forgotten."""
    stamps = {"a": "1", "b": "none"}

    def read_file(name: str) -> str:
        if stamps[name] == "none":
            raise FileNotFoundError(name)
        return name

    overheard = Overheard(TextSource("one"), read_file, lambda name: stamps[name])
    await overheard.read()
    first = await overheard.version()
    overheard.read_file("a")
    with pytest.raises(FileNotFoundError):
        overheard.read_file("b")
    assert await overheard.version() == first
    seen = [first]
    for changed in ({"a": "2"}, {"b": "1"}):
        stamps |= changed
        seen.append(await overheard.version())
        assert await overheard.version() == seen[-1]
    assert len(set(seen)) == 3
    await overheard.read()
    stamps["a"] = "3"
    assert await overheard.version() == seen[-1]


async def test_a_changed_template_is_put_in_force_without_a_word(tmp_path: Path) -> None:
    """Watching reloads for it, and keeps the old one while the new one is none; each once."""
    folder, told = tmp_path, list[object]()
    (folder / "t.jinja").write_text("{{ messages[0].content }}")
    (folder / "policy.yaml").write_text(TEMPLATED)
    overheard = Overheard(FileSource(str(folder / "policy.yaml")), template_reader(folder), template_stamp(folder))
    policy = Policy(overheard, {}, frozenset(), told.append, told.append, read_file=overheard.read_file)
    await policy.load()
    texts = iter(["{{ messages[0].content }}!", None, "{% for %}", None, "{{ messages[0].role }}", None])

    async def pause(_seconds: float) -> None:
        text = next(texts, "")
        if text == "":
            raise asyncio.CancelledError
        if text is not None:
            (folder / "t.jinja").write_text(text)

    with pytest.raises(asyncio.CancelledError):
        await policy.watch(pause)
    assert [event for event in told if isinstance(event, bool)] == [True, False, True]
    assert policy.current.generation == 3
    assert policy.current.table.routes["x", None].translate.chat_template == "{{ messages[0].role }}"
