"""`make bench` beside others: ratios, goals and picture; what is not here is left out; a run from start to end."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import upstream
from benchmarks.cost import gateways, page, systems
from benchmarks.cost.goals import GOALS, Goal, verdicts
from benchmarks.cost.latency import paced
from benchmarks.cost.path import stretches
from benchmarks.cost.picture import as_svg
from benchmarks.cost.report import as_markdown
from benchmarks.cost.running import difference
from benchmarks.cost.sums import Interval, interval, ratios
from benchmarks.cost.systems import POLLING
from benchmarks.load import Shot, shot
from benchmarks.machine import RESULTS
from tests.checkout import ROOT, ended

ALL = (*systems.CELLS, *gateways.CELLS)
ABOUT = {"date": "today", "commit": "abc", "cpu": "one & only", "rounds": "3", "rate": "200 requests/s"}
PLACED = ABOUT | {"cores": "2", "load before": "1.0", "load after": "1.0"}


def cpu(**of: float) -> dict[str, dict[str, list[float]]]:
    """Three rounds on a machine that gets slower; a cell costs `of` its server, else 100."""
    drift = (1.0, 2.0, 4.0)
    costs = {cell.name: of.get(cell.name.replace(", ", "_").replace("-", "_"), 100.0) for cell in ALL}
    return {
        name: {"cpu": [cost * each for each in drift], "per_second": [1.0] * 3, "waited": [0.0] * 3}
        for name, cost in costs.items()
    }


def waits(ours: float, polling: float = 100.0) -> dict[str, dict[str, list[float]]]:
    """Three rounds: the target answers in 100 us, vllm-router adds 200, ours what it is told, also where it polls."""
    sides = {"direct": 100.0, "vllm-router": 300.0, "ours": 100.0 + ours, POLLING: 100.0 + polling}
    return {
        name + suffix: {which: [value] * 3 for which in ("first", "whole", "p99")}
        for name, value in sides.items()
        for suffix in ("", ", stream")
    }


def test_ratio_is_taken_within_a_round() -> None:
    """A machine that gets four times slower during a run does not change a ratio."""
    measured = cpu(ours=60.0)
    assert interval(ratios(measured["ours"]["cpu"], measured["bare"]["cpu"])) == Interval(0.6, 0.6, 0.6)


@pytest.mark.parametrize(
    ("goal", "found", "reached"),
    [
        (Goal("", 0.6, lambda *_: []), Interval(0.6, 0.5, 0.659), True),
        (Goal("", 0.6, lambda *_: []), Interval(0.5, 0.4, 0.661), False),
        (Goal("", 100.0, lambda *_: [], least=True), Interval(120.0, 91.0, 150.0), True),
        (Goal("", 100.0, lambda *_: [], least=True), Interval(120.0, 90.0, 150.0), False),
    ],
)
def test_goal_is_reached_by_the_whole_interval(goal: Goal, found: Interval, reached: bool) -> None:
    """A good median is not enough: the worse end of the interval counts, with a tenth of slack."""
    assert goal.reached(found) == reached


def test_verdicts_say_what_was_found() -> None:
    """Each goal compares the cells that it names, and the one missed is the one that is too dear."""
    measured = cpu(ours=50.0, ours_endpoint=55.0, ours_bedrock=90.0, litellm=20_000.0)
    words = {each.goal.text.split(":")[0]: each.word for each in verdicts(measured, waits(150.0))}
    assert len(words) == len(GOALS)
    assert [text for text, word in words.items() if word != "reached"] == ["signed for Bedrock"]
    slow = {each.goal.text.split(":")[0] for each in verdicts(cpu(), waits(150.0, 250.0)) if each.word == "missed"}
    assert {"added p50, busy polling", "added first byte, busy polling"} < slow
    assert not {"added p50 at a fixed rate", "added first byte of a stream"} & slow


def test_goal_without_its_server_is_not_measured() -> None:
    """Where a gateway could not be run its goals are neither reached nor missed."""
    measured = {name: kept for name, kept in cpu().items() if not name.startswith(("vllm-router", "litellm"))}
    words = [each.word for each in verdicts(measured, {})]
    assert words.count("not measured") == 6


def test_report_names_what_was_left_out() -> None:
    """The report holds a line for each server that was measured, and the reason for each that was not."""
    own = [cell for cell in ALL if cell.server != "nginx"]
    text = as_markdown(own, cpu(ours=50.0), waits(150.0), ABOUT, {"nginx": "not installed"})
    assert "- left out: nginx: not installed" in text
    assert all(f"| {cell.name} |" in text for cell in own)
    assert "| ours | 100.0 (50.0) | 0.50 [0.50, 0.50] | 0.50 [0.50, 0.50] | 1 | 0% |" in text
    assert "| ours | 250 | +150 [+150, +150] | 250 | +150 [+150, +150] | 250 |" in text


def test_page_shows_the_result_that_it_names() -> None:
    """Its tables are what the command writes for that result, and the result is kept."""
    text = page.PAGE.read_text()
    name = text.partition("From [")[2].partition("]")[0]
    assert page.written(text, RESULTS / f"{name}.json") == text
    assert (RESULTS / f"{name}.md").exists()
    assert (RESULTS / f"{name}.svg").exists()


def test_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    """A page that is somebody's own is not written into; neither is one without any result."""
    with pytest.raises(SystemExit, match="lacks its marks"):
        page.written("# Mine\n", next(RESULTS.glob("cost-*.json")))
    with pytest.raises(SystemExit, match="make bench-cost"):
        page.newest(tmp_path)


def test_page_has_a_row_for_each_server() -> None:
    """Figures of what was not asked at a fixed rate are left out there, and nothing else."""
    text = "\n".join(page.figures({"cells": cpu(ours=50.0), "waits": waits(150.0), "about": PLACED}, "cost-x"))
    assert all(f"\n| {cell.name} |" in text for cell in ALL)
    assert "\n| ours | 150 [150, 150] | 150 [150, 150] |" in text
    assert "added at" not in "\n".join(page.figures({"cells": cpu(), "waits": {}, "about": PLACED}, "cost-x"))


def test_picture_has_a_bar_for_each_server() -> None:
    """The picture is well-formed and names every cell, cheapest first."""
    root = ElementTree.fromstring(as_svg(ALL, cpu(floor=10.0, litellm=20_000.0), ABOUT))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {cell.name for cell in ALL} <= set(texts)
    assert texts.index("floor") < texts.index("bare") < texts.index("litellm")


def test_stretches_begin_with_waking_up_and_end_when_it_is_sent() -> None:
    """Of the thread that serves: other threads, looks that found nothing and a log's lines count for nothing."""
    script = """
  7  10.000000000: syscalls:sys_exit_epoll_pwait: 0x1
  7  10.000010000: syscalls:sys_exit_read: 0x424
  9  10.000020000: syscalls:sys_exit_write: 0x40
  7  10.000072000: syscalls:sys_exit_write: 0x44e
  7  10.000080000: syscalls:sys_exit_epoll_pwait: 0x0
  7  10.000090000: syscalls:sys_exit_read: 0xfffffffffffffff5
  7  10.000200000: syscalls:sys_exit_epoll_pwait: 0x1
  7  10.000210000: syscalls:sys_exit_recvfrom: 0x296
  7  10.000233000: syscalls:sys_exit_writev: 0x3aa
  7  10.000240000: syscalls:sys_exit_write: 0x3aa
"""
    requests, answers = stretches(script, 900)
    assert requests == pytest.approx([72.0])
    assert answers == pytest.approx([33.0])
    assert stretches("", 900) == ([], [])


def test_gateway_that_is_not_built_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The quick form installs nothing: what it would have to install is named as missing."""
    monkeypatch.setenv("POINTSMAN_ENV_CACHE", str(tmp_path))
    servers, missing = gateways.found(["vllm-router", "litellm"], build=False, say=print)
    assert (servers, list(missing)) == ([], ["vllm-router", "litellm"])
    assert list(tmp_path.iterdir()) == []


def test_every_gateway_has_its_lock() -> None:
    """What comes from a registry is locked with hashes, and the lock says which release is measured."""
    for name in ("vllm-router", "sglang-router", "litellm"):
        told = gateways.releases([systems.Server(name, lambda *_: [])])
        assert told[name][0].isdigit()
        assert "--hash=sha256:" in (gateways.LOCKS / f"{name}.lock").read_text()


def test_answer_that_differs_is_not_timed() -> None:
    """A server that answers something else than the target is found out; who writes it anew must keep the content."""
    whole, anew = (next(cell for cell in ALL if cell.name == name) for name in ("vllm-router", "litellm"))
    assert difference(whole, upstream.ANSWER) == ""
    assert "another answer" in difference(whole, upstream.ANSWER + b" ")
    assert difference(anew, upstream.ANSWER + b" ") == ""
    assert "another answer" in difference(anew, b"{}")
    stream = next(cell for cell in ALL if cell.name == "litellm, stream")
    assert difference(stream, b"".join(upstream.SSE)) == ""
    assert "another answer" in difference(stream, b"".join(upstream.SSE[1:]))


class Stalling(asyncio.Protocol):
    """Answers at once, but for one pause in which nobody is answered."""

    answered = 0
    held: list[asyncio.BaseTransport] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        Stalling.answered += 1
        if Stalling.answered == 52:  # 32 warm the connections
            Stalling.held = []
            asyncio.get_running_loop().call_later(0.3, self.go_on)
        if Stalling.held is None:
            self.answer(self.transport)
        else:
            Stalling.held.append(self.transport)

    def go_on(self) -> None:
        late, Stalling.held = Stalling.held or [], None
        for transport in late:
            self.answer(transport)

    @staticmethod
    def answer(transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def test_server_that_stalls_cannot_hide_it() -> None:
    """Requests that were due during a pause count from when they were due, though nobody answered in between."""
    server = await asyncio.get_running_loop().create_server(Stalling, "127.0.0.1", 0)
    async with server:
        where: Shot = shot(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", b"{}", {})
        _, whole = await paced(where, 100.0, 0.8)
    assert len(whole) == 80
    assert sum(wait > 50_000 for wait in whole) >= 20


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_run_writes_table_and_picture(tmp_path: Path) -> None:
    """One short round of two servers leaves the report, the figures and the picture."""
    command = [sys.executable, "-m", "benchmarks.cost", "--cells", "floor;ours", "--rounds", "1", "--load", "own"]
    command += ["--seconds", "0.05", "--paced-rounds", "1", "--paced-seconds", "0.2", "--out", str(tmp_path)]
    done = ended(command, ROOT, 100)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(next(tmp_path.glob("cost-*.json")).read_text())
    assert set(document["cells"]) == {"floor", "ours"}
    assert set(document["waits"]) == {"direct", "floor", "ours"}
    assert all(kept["cpu"][0] > 0 for kept in document["cells"].values())
    assert "| ours |" in next(tmp_path.glob("cost-*.md")).read_text()
    assert next(tmp_path.glob("cost-*.svg")).read_text().startswith("<svg")
