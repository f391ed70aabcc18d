"""Who has a turn at which target, for how long, and when once more, by two workers: at first, after a reload, and after
one of them was killed with `kill -9`. docs/reliability.md says what is promised.
"""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path

import pytest

from .crowd import CLIENTS, NEW_SESSION, Answer, Crowd
from .engines import engines
from .serving import BODY, served
from .stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DOES = {
    "quick": "answers",
    "hangs": "hangs",
    "fails": "fails",
    "heals": "fails",
    "mixed": "obeys",
    "delays": "delays",
    "cold": "cold",
    "crowded": "holds",
    "heavy": "holds",
    "one": "holds",
    "two": "holds",
    "here": "talks",
    "there": "talks",
}
FAIL = b'{"messages":[],"user":"fail"}'
HOOK = "import asyncio\n\nasync def before(call):\n    await asyncio.sleep(1000)\n"
POLICY = """
apiVersion: pointsman/v1
account: "123456789012"
targets:
  quick: {kind: vllm, url: "http://127.0.0.1:QUICK", model: m, ROOMY}
  fails: {kind: vllm, url: "http://127.0.0.1:FAILS", model: m, ROOMY}
  heals: {kind: vllm, url: "http://127.0.0.1:HEALS", model: m, ROOMY}
  mixed: {kind: vllm, url: "http://127.0.0.1:MIXED", model: m, ROOMY}
  mute: {kind: vllm, url: "https://127.0.0.1:HANGS", model: m, connect_timeout: 200ms, ROOMY}
  tardy: {kind: vllm, url: "http://127.0.0.1:HANGS", model: m, first_byte: 200ms, ROOMY}
  delays: {kind: endpoint, endpoint: e, url: "http://127.0.0.1:DELAYS", sign: false}
  cold: {kind: endpoint, endpoint: e, url: "http://127.0.0.1:COLD", sign: false, ROOMY}
  crowded: {kind: vllm, url: "http://127.0.0.1:CROWDED", model: m, limit: {min: 1, max: 2, queue: 2}}
  heavy: {kind: vllm, url: "http://127.0.0.1:HEAVY", model: m, limit: {min: 1, max: 2, queue: 99, queue_bytes: 2KiB}}
  pair: {kind: vllm, urls: ["http://127.0.0.1:ONE", "http://127.0.0.1:TWO"], model: m, ROOMY}
  here: {kind: endpoint, endpoint: e, url: "http://127.0.0.1:HERE", sign: false}
  there: {kind: endpoint, endpoint: e, url: "http://127.0.0.1:THERE", sign: false}
endpoints:
  cool: {serve_from: quick}
  once: {serve_from: fails, retry: {attempts: 3}}
  heals: {serve_from: heals, fallback: [quick], idempotent: true, retry: {attempts: 2, budget: 100%}}
  mixed: {serve_from: mixed, fallback: [quick], retry: {attempts: 1}}
  unmade: {serve_from: mute, fallback: [quick]}
  tardy: {serve_from: tardy}
  hooked: {serve_from: quick, handler: {path: hook.py, run: inline, timeout: 200ms}}
  delays: {serve_from: delays, retry: {attempts: 2, budget: 100%}}
  cold: {serve_from: cold, retry: {attempts: 1}}
  ordinary: {serve_from: crowded, retry: {attempts: 1}}
  important: {serve_from: crowded, retry: {attempts: 1}, shed: last}
  heavy: {serve_from: heavy, retry: {attempts: 1}}
  pair: {serve_from: pair}
  sessions: {split: {here: 1, there: 1}}
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with engines(DOES) as behind:
        text = POLICY.replace("ROOMY", "limit: {min: 100}")  # nobody is turned away because this machine is busy
        for name in DOES:
            text = text.replace(f":{name.upper()}", f":{behind[name].port}")
        folder = tmp_path_factory.mktemp("turns")
        (folder / "hook.py").write_text(HOOK)
        with served(folder, text) as running:
            yield Stage(running, behind)


def breakers(stage: Stage, target: str) -> list[str]:
    """What each worker's is."""
    rows = json.loads(stage.running.read("/admin/breakers"))["breakers"]
    return [row["state"] for row in sorted(rows, key=lambda row: int(row["worker"])) if row["target"] == target]


def told(asking: list[Future[Answer]], count: int) -> list[Answer]:
    """Answers, once there are so many."""
    while len(done := [each.result() for each in asking if each.done()]) < count:
        time.sleep(0.01)
    return done


def statuses(asking: list[Future[Answer]]) -> Counter[int]:
    return Counter(each.result().status for each in asking)


def test_a_breaker_is_reset_in_all_workers(stage: Stage, crowd: Crowd) -> None:
    """Both have found the target failing and leave it alone; once it is well, one word brings it back to both."""
    heals = stage.engines["heals"]
    heals.does = "fails"
    while breakers(stage, "heals") != ["open", "open"]:
        crowd.answers("heals")
    heals.does = "answers"
    assert stage.running.write("/admin/breakers/heals/reset")["reset"] is True
    assert breakers(stage, "heals") == ["closed", "closed"]
    assert {answer.headers["x-pointsman-target"] for answer in crowd.answers("heals")} == {"heals"}
    heals.does = "fails"  # for the last test of these
    while breakers(stage, "heals") != ["open", "open"]:
        crowd.answers("heals")


def asked_by_each(crowd: Crowd, *bodies: bytes) -> None:
    """These, one after the other, by one client after the other: in this order in either worker."""
    for number in range(CLIENTS):
        for body in bodies:
            crowd.one(number, "mixed", body).result()


def test_failures_of_half_of_the_requests_open_a_breaker(stage: Stage, crowd: Crowd) -> None:
    """In both workers, though no two of them follow each other; a third of the requests may fail."""
    crowd.answers("mixed")  # so that each worker knows of the target
    assert stage.running.write("/admin/breakers/mixed/reset")["reset"] is True
    for _ in range(3):
        asked_by_each(crowd, BODY, BODY, FAIL)
    assert breakers(stage, "mixed") == ["closed", "closed"]
    stage.running.write("/admin/breakers/mixed/reset")
    while breakers(stage, "mixed") != ["open", "open"]:
        asked_by_each(crowd, BODY, FAIL)
    elsewhere = {answer.headers["x-pointsman-target"] for answer in crowd.answers("mixed")}
    assert elsewhere == {"quick"} or breakers(stage, "mixed") != ["open", "open"]  # one that is half open by now


def test_what_may_have_run_is_asked_once(stage: Stage, crowd: Crowd) -> None:
    """A model's own 500, on a route that says nothing of being idempotent."""
    fails, before = stage.engines["fails"], stage.engines["fails"].asked
    assert {answer.status for answer in crowd.answers("once")} == {424}
    assert fails.asked == before + CLIENTS


def test_a_wait_that_a_target_asks_for_is_kept(stage: Stage, crowd: Crowd) -> None:
    """In milliseconds, before it is asked again; and it is passed on.

    One client after the other: however they are divided, each worker can afford each repeat.
    """
    delays, before = stage.engines["delays"], stage.engines["delays"].asked
    answers = []
    for number in range(CLIENTS):
        began = time.monotonic()
        answers.append(crowd.one(number, "delays").result())
        assert answers[-1].at >= began + 0.3
    assert {answer.refusal for answer in answers} == {(429, "ThrottlingException")}
    assert {answer.headers["x-amz-retry-after"] for answer in answers} == {"300"}
    assert delays.asked == before + 2 * CLIENTS


def test_a_target_that_throttles_is_asked_for_less(stage: Stage, crowd: Crowd) -> None:
    """Its limit shrinks in each worker that was told so; the metrics have all of it and the least."""
    assert {answer.status for answer in crowd.answers("delays")} == {429}
    rows = json.loads(stage.running.read("/admin/limits"))["limits"]
    limits = {row["worker"]: row["limit"] for row in rows if row["target"] == "delays"}
    assert set(limits) == {0, 1}
    assert max(limits.values()) < 128  # where each of two begins
    assert stage.counted("pointsman_target_limit", target="delays") == sum(limits.values())
    assert stage.counted("pointsman_target_least_limit", target="delays") == min(limits.values())
    assert breakers(stage, "delays") == ["closed", "closed"]


def test_cold_never_breaks(stage: Stage, crowd: Crowd) -> None:
    """However often a model is not ready: each client is told so, and no breaker opens."""
    for _ in range(6):
        assert {answer.refusal for answer in crowd.answers("cold")} == {(429, "ModelNotReadyException")}
    assert breakers(stage, "cold") == ["closed", "closed"]


def test_a_connection_that_is_not_made_is_given_up(stage: Stage, crowd: Crowd) -> None:
    """TLS that nobody answers: nothing was sent, so that the fallback is asked on any route."""
    assert {answer.headers["x-pointsman-target"] for answer in crowd.answers("unmade")} == {"quick"}


def test_a_first_piece_that_does_not_come_is_told(stage: Stage, crowd: Crowd) -> None:
    """Before the head of a stream is sent, so that it is an answer of its own."""
    answers = crowd.streams("tardy")
    assert {(answer.status, json.loads(answer.body)["OriginalStatusCode"]) for answer in answers} == {(424, 0)}


def test_a_hook_that_takes_too_long_is_given_up(stage: Stage, crowd: Crowd) -> None:
    """And its target is not asked."""
    asked = stage.engines["quick"].asked
    assert {answer.status for answer in crowd.answers("hooked")} == {424}
    assert stage.engines["quick"].asked == asked


def test_what_waits_is_shed_in_the_policys_order(stage: Stage, crowd: Crowd) -> None:
    """Each worker has one inside and one that waits, which makes room for one that is shed last."""
    crowded = stage.engines["crowded"]
    stage.engines.hold("crowded")
    ordinary = crowd.ask("ordinary")
    assert {answer.refusal for answer in told(ordinary, CLIENTS - 4)} == {(429, "ThrottlingException")}
    stage.engines.until(lambda: crowded.inside == 2)
    with ExitStack() as stack:
        important = stage.crowd(stack, CLIENTS).ask("important")
        told(ordinary, CLIENTS - 2)
        told(important, CLIENTS - 2)
        stage.engines.release("crowded")
        assert statuses(ordinary) == {200: 2, 429: CLIENTS - 2}
        assert statuses(important) == {200: 2, 429: CLIENTS - 2}


def test_what_waits_is_bounded_in_bytes(stage: Stage, crowd: Crowd) -> None:
    """Of 99 that could wait, one does in each worker: a second body is more than its KiB."""
    stage.engines.hold("heavy")
    asking = crowd.ask("heavy", b"x" * 600)
    told(asking, CLIENTS - 4)
    stage.engines.release("heavy")
    assert statuses(asking) == {200: 4, 429: CLIENTS - 4}


def test_the_less_busy_replica_is_asked(stage: Stage, crowd: Crowd) -> None:
    """Of two each worker asks them in turn while none answers."""
    one, two = stage.engines["one"], stage.engines["two"]
    for name in ("one", "two"):
        stage.engines.hold(name)
    asking = crowd.ask("pair")
    stage.engines.until(lambda: one.inside + two.inside == CLIENTS)
    assert abs(one.inside - two.inside) <= 2
    for name in ("one", "two"):
        stage.engines.release(name)
    assert statuses(asking) == {200: CLIENTS}


def test_a_session_is_closed_by_the_id_that_its_client_knows(stage: Stage, crowd: Crowd) -> None:
    """Whoever is asked; and an id that leads nowhere is passed on as it is."""
    opened = {answer.headers[NEW_SESSION].split(";")[0] for answer in crowd.answers("sessions", session="NEW_SESSION")}
    for session in opened:
        closed = crowd.answers("sessions", b"close", session)
        assert {answer.headers["X-Amzn-SageMaker-Closed-Session-Id"] for answer in closed} == {session}
    forged = "s-1-pm000000000000"
    assert {answer.body.split()[1] for answer in crowd.answers("sessions", session=forged)} == {forged.encode()}


def test_a_target_that_is_tried_again_is_asked_by_one(stage: Stage, crowd: Crowd) -> None:
    """Its breakers opened seconds ago. In each worker one request at a time is let through; two answers close it."""
    heals = stage.engines["heals"]
    heals.does = "holds"
    while breakers(stage, "heals") != ["half_open", "half_open"]:
        time.sleep(0.2)
    for state in ("half_open", "closed"):
        stage.engines.hold("heals")
        asking = crowd.ask("heals")
        elsewhere = told(asking, CLIENTS - 2)
        assert {answer.headers["x-pointsman-target"] for answer in elsewhere} == {"quick"}
        stage.engines.until(lambda: heals.inside == 2)
        stage.engines.release("heals")
        assert Counter(each.result().headers["x-pointsman-target"] for each in asking) == {"heals": 2, "quick": 6}
        assert breakers(stage, "heals") == [state, state]


def test_who_waits_when_a_reload_takes_the_target_is_answered(tmp_path: Path) -> None:
    """By the policy that it came under, in both workers; those who come later are not."""
    with engines({"quick": "answers", "held": "holds"}) as behind, ExitStack() as stack:
        quick, held = (
            f'kind: vllm, url: "http://127.0.0.1:{behind[name].port}", model: m' for name in ("quick", "held")
        )
        targets = f'apiVersion: pointsman/v1\naccount: "123456789012"\ntargets:\n  quick: {{{quick}}}\n'
        before = f"{targets}  held: {{{held}, limit: {{min: 1, max: 2}}}}\n"
        routes = "endpoints:\n  cool: {serve_from: quick}\n  held: {serve_from: "
        running = stack.enter_context(served(tmp_path, f"{before}{routes}held}}\n"))
        stage = Stage(running, behind)
        crowd = stage.crowd(stack)
        asking = crowd.ask("held")
        behind.until(lambda: behind["held"].inside == 2)
        while sum(row["waiting"] for row in json.loads(running.read("/admin/limits"))["limits"]) < CLIENTS - 2:
            time.sleep(0.01)
        running.policy.write_text(f"{targets}{routes}quick}}\n")
        running.process.send_signal(signal.SIGHUP)
        while {worker["policy"].split("/")[1] for worker in running.ready()["workers"]} != {"2"}:
            time.sleep(0.02)
        later = stage.crowd(stack, CLIENTS).answers("held")
        assert {answer.headers["x-pointsman-target"] for answer in later} == {"quick"}
        behind.release("held")
        answered = {(each.result().status, each.result().headers["x-pointsman-target"]) for each in asking}
        assert answered == {(200, "held")}
