"""How targets and workers come back, by two workers in processes of their own: a target that was ejected, whose probe
is in flight when one of them is killed, and a worker that crashes at each start.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import time
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path

import pytest

from .crowd import CLIENTS, Answer, Crowd
from .engines import engines
from .serving import Load, Serving, model, policy_of, served
from .stage import Stage
from .test_turns import breakers, told

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

POLICY = """
apiVersion: pointsman/v1
account: "123456789012"
targets:
  quick: {kind: vllm, url: "http://127.0.0.1:QUICK", model: m, limit: {min: 100}}
  back: {kind: vllm, url: "http://127.0.0.1:BACK", model: m, limit: {min: 100}}
endpoints:
  cool: {serve_from: quick}
  back: {serve_from: back, fallback: [quick], idempotent: true, retry: {attempts: 2, budget: 100%}}
"""
SLOW_START = 10.0
"""Seconds from a tenth of the traffic to all of it, in a line."""
SURE = 5.0
"""Standard deviations from what is expected that no draw is: one run in a million is."""
CRASHES = """
import os, pathlib
if pathlib.Path({flag!r}).exists():
    os._exit(3)

def input_fn(body, content_type):
    return body
"""


def places(asking: list[Future[Answer]]) -> list[str]:
    """Which target answered."""
    return sorted(each.result().headers["x-pointsman-target"] for each in asking)


def in_flight(running: Serving, target: str) -> int:
    """Requests that the workers hold for a target, at it or in its queue."""
    rows = json.loads(running.read("/admin/limits"))["limits"]
    return sum(row["in_flight"] + row["waiting"] for row in rows if row["target"] == target)


def test_a_worker_is_killed_while_its_probe_is_in_flight(tmp_path: Path) -> None:
    """The other one goes on, and gives the target its traffic back bit by bit; the one that takes the place of the
    killed one knows nothing of it and asks the target at once. Breakers live through a reload."""
    with engines({"quick": "answers", "back": "fails"}) as behind, ExitStack() as stack:
        text = POLICY
        for name in behind:
            text = text.replace(f":{name.upper()}", f":{behind[name].port}")
        running = stack.enter_context(served(tmp_path, text))
        stage, back = Stage(running, behind), behind["back"]
        first = stage.crowd(stack)
        while breakers(stage, "back") != ["open", "open"]:
            first.answers("back")
        running.policy.write_text(f"{text}  more: {{serve_from: quick}}\n")
        running.process.send_signal(signal.SIGHUP)
        while {worker["policy"].split("/")[1] for worker in running.ready()["workers"]} != {"2"}:
            time.sleep(0.02)
        back.does = "holds"
        while breakers(stage, "back") != ["half_open", "half_open"]:
            time.sleep(0.1)

        probing = first.ask("back")
        assert places(elsewhere(probing, CLIENTS - 2)) == ["quick"] * (CLIENTS - 2)
        behind.until(lambda: back.inside == 2)
        kept = int(stage.connections()[1])
        kill(running, 0)
        left = [number for number in range(CLIENTS) if survives(first, number, probing[number])]
        second = stage.crowd(stack, kept)
        fresh = int(stage.connections()[0])
        asking = second.ask("back")
        assert places(elsewhere(asking, CLIENTS - fresh)) == ["quick"] * (CLIENTS - fresh)
        behind.until(lambda: back.inside == 2 + fresh)  # the target does not notice that one of two has gone
        assert breakers(stage, "back") == ["closed", "half_open"]
        behind.release("back")
        assert places(asking) == ["back"] * fresh + ["quick"] * (CLIENTS - fresh)
        answered = [each for each in probing if not each.exception()]
        assert places(answered) == ["back"] + ["quick"] * (CLIENTS - 2)
        assert breakers(stage, "back") == ["closed", "half_open"]
        before = time.monotonic()
        assert places([first.one(left[0], "back")]) == ["back"]
        assert breakers(stage, "back") == ["closed", "closed"]
        comes_back_bit_by_bit(first, left[0], before, time.monotonic())
        assert (in_flight(running, "back"), in_flight(running, "quick"), back.inside) == (0, 0, 0)


def elsewhere(asking: list[Future[Answer]], count: int) -> list[Future[Answer]]:
    """Those that are answered while others are held, once there are so many."""
    told(asking, count)
    return [each for each in asking if each.done()]


def kill(running: Serving, number: int) -> None:
    """`kill -9` of a worker; until another has its place."""
    victim = running.pids()[number]
    os.kill(victim, signal.SIGKILL)
    while victim in (now := running.pids()) or len(now) < 2 or running.value("pointsman_worker_up") < 2:
        time.sleep(0.02)


def survives(crowd: Crowd, number: int, asking: Future[Answer]) -> bool:
    """Whether a client's connection is there after a worker was killed, and nobody waits for an answer on it."""
    crowd.connections[number].auto_open = 0
    return asking.done() and not asking.exception() and not crowd.one(number, "cool").exception()


def comes_back_bit_by_bit(crowd: Crowd, number: int, not_before: float, not_after: float) -> None:
    """Raises AssertionError when a target that recovered between these two moments gets more or less than its share.

    Asked until a share that stays at its tenth would be told from one that grows; the rest of the way is the same line.
    """
    got, least, most, asked = 0, 0.0, 0.0, 0
    while least - SURE * math.sqrt(least) < 0.12 * asked or asked < 50:
        began = time.monotonic()
        got += crowd.one(number, "back").result().headers["x-pointsman-target"] == "back"
        asked += 1
        least += min(1.0, max(0.1, (began - not_after) / SLOW_START))
        most += min(1.0, max(0.1, (time.monotonic() - not_before) / SLOW_START))
        time.sleep(0.02)  # the rest of the machine has something to do as well
    assert least - SURE * math.sqrt(least) <= got <= most + SURE * math.sqrt(most)


def test_a_worker_that_crashes_at_each_start_is_started_ever_more_rarely(tmp_path: Path) -> None:
    """The other one serves on, without a loss after the one of the first kill; once the reason is gone both serve."""
    flag = tmp_path / "flag"
    (tmp_path / "model.py").write_text(CRASHES.format(flag=str(flag)))
    with model() as upstream:
        policy = policy_of(upstream).replace("owner: us", "owner: us, handler: {path: model.py, run: inline}")
        with served(tmp_path, policy) as running, Load(running.port, clients=4) as load:
            load.more(50)
            flag.touch()
            victim = running.pids()[0]
            os.kill(victim, signal.SIGKILL)
            running.until("worker 0 is gone (exit code 3)")
            lost = len(load.lost)
            running.until("worker 0 is gone (exit code 3)", count=2)
            load.more(50)
            assert [worker["state"] for worker in running.ready()["workers"]][1] == "serving"
            waits = [float(wait) for wait in re.findall(r"another starts in (\S+) s", running.errors.read_text())]
            flag.unlink()
            while running.value('pointsman_worker_up{worker="0"}') != 1.0:
                load.more(5)
            running.spread(Load(running.port))
    assert (len(load.lost), load.refused, set(load.answers)) == (lost, 0, {"200"})
    assert lost <= load.clients
    assert waits == sorted(waits)
    assert waits[-1] >= 0.2
