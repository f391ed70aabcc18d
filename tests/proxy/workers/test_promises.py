"""What docs/reliability.md promises, by two workers in processes of their own: at first, after a reload, and after one
of them was killed with `kill -9`. The same processes go through all of it, so that what one promise leaves behind is
there for the next.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest

from .crowd import CLIENTS, NEW_SESSION, Answer, Crowd
from .engines import engines
from .serving import BODY, served
from .stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DOES = {
    "dead": "hangs",  # its port is not the one in the policy
    "hangs": "hangs",
    "fails": "fails",
    "slow": "dawdles",
    "quick": "answers",
    "hot": "holds",
    "one": "talks",
    "two": "talks",
    "says": "streams",
    "stalls": "streams",
    "mute": "hangs",
    "busy": "throttles",
}
POLICY = """
apiVersion: pointsman/v1
account: "123456789012"
owners: {them: {requests: 8/h}, others: {tokens: 8/h}}
targets:
TARGETS
  stalls: {kind: vllm, url: "http://127.0.0.1:STALLS", model: m, between_chunks: 500ms, LIMIT}
  hot: {kind: vllm, url: "http://127.0.0.1:HOT", model: m, limit: {min: 1, max: 4, queue: 1}}
  pair: {kind: vllm, urls: ["http://127.0.0.1:ONE", "http://127.0.0.1:TWO"], model: m}
  busy: {kind: endpoint, endpoint: e, url: "http://127.0.0.1:BUSY", sign: false, LIMIT}
  one: {kind: endpoint, endpoint: e, url: "http://127.0.0.1:ONE", sign: false}
  two: {kind: endpoint, endpoint: e, url: "http://127.0.0.1:TWO", sign: false}
endpoints:
  late: {serve_from: hangs, timeout: 4s}
  again: {serve_from: fails, idempotent: true, retry: {attempts: 3, budget: 10%}}
  hedged: {serve_from: slow, fallback: [quick], idempotent: true, hedge: {after: 20ms, budget: 50%}}
  spared: {serve_from: dead, fallback: [quick]}
  hot: {serve_from: hot}
  cool: {serve_from: quick}
  theirs: {serve_from: quick, owner: them}
  alike: {serve_from: pair, sticky_by: "prefix:64"}
  sessions: {split: {one: 1, two: 1}}
  counted: {serve_from: says, owner: others}
  shared: {serve_from: mute, fallback: [quick], idempotent: true, timeout: 10s, retry: {attempts: 2, budget: 100%}}
  stalled: {serve_from: stalls}
  throttled: {serve_from: busy, retry: {attempts: 1}}
  desperate: {serve_from: dead, last_resort: quick}
  left: {serve_from: hangs}
  stream: {serve_from: says}
"""
ROOMY = "limit: {min: 100}"
"""Nobody is turned away because this machine has much to do."""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with engines(DOES) as behind:
        text = POLICY.replace("LIMIT", ROOMY)
        ports = {name: 1 if name == "dead" else behind[name].port for name in DOES}
        lines = [
            f'  {name}: {{kind: vllm, url: "http://127.0.0.1:{ports[name]}", model: m, {ROOMY}}}'
            for name in ("dead", "hangs", "fails", "slow", "quick", "says", "mute")
        ]
        for name in ("hot", "one", "two", "stalls", "busy"):
            text = text.replace(f":{name.upper()}", f":{behind[name].port}")
        with served(
            tmp_path_factory.mktemp("both"), text.replace("TARGETS", "\n".join(lines)), "--body-time", "2"
        ) as running:
            yield Stage(running, behind)


def test_a_target_that_never_answers_costs_its_deadline(stage: Stage, crowd: Crowd) -> None:
    """Each client is told so, and the target sees each of them go."""
    before = len(stage.engines["hangs"].seen)
    told = [(answer.status, json.loads(answer.body)["OriginalStatusCode"]) for answer in crowd.answers("late")]
    assert told == [(424, 0)] * CLIENTS
    stage.engines.until(lambda: len(stage.engines["hangs"].seen) == before + CLIENTS)


def test_repeats_stay_within_their_budget(stage: Stage, crowd: Crowd) -> None:
    """Ten that the bucket holds, a tenth of the requests, one for each ten seconds, and one that each worker may."""
    engine, began, before = stage.engines["fails"], time.monotonic(), stage.engines["fails"].asked
    rounds = 10
    for _ in range(rounds):
        assert {answer.status for answer in crowd.answers("again")} == {424}
    asked, requests = engine.asked - before, rounds * CLIENTS
    assert requests <= asked <= requests * 1.1 + 10 + (time.monotonic() - began) / 10 + 2


def test_what_an_sdk_sends_again_is_asked_once(stage: Stage, crowd: Crowd) -> None:
    """Its attempts and ours would multiply: from its second one on the target sees one request for one."""
    engine, before = stage.engines["fails"], stage.engines["fails"].asked
    assert {answer.status for answer in crowd.repeated("again")} == {424}
    assert engine.asked - before == CLIENTS


def test_a_silent_target_leaves_time_for_the_next(stage: Stage, crowd: Crowd) -> None:
    """Half of the ten seconds are its share where another may be asked, and that one answers.

    Four clients: a worker's budget pays for five repeats at a time.
    """
    answers = [crowd.one(number, "shared") for number in range(4)]
    told = {(each.result().status, each.result().headers["x-pointsman-target"]) for each in answers}
    assert told == {(200, "quick")}


def test_a_stream_that_stalls_says_so(stage: Stage, crowd: Crowd) -> None:
    """Inside it, after what had come; and its target is let go."""
    engine, before = stage.engines["stalls"], len(stage.engines["stalls"].seen)
    for answer in crowd.streams("stalled"):
        assert answer.status == 200
        assert answer.body.index(b"hi") < answer.body.index(b"ModelStreamError")
        assert b"ModelInvocationTimeExceeded" in answer.body
    stage.engines.until(lambda: len(engine.seen) == before + CLIENTS)


def test_throttling_is_passed_on_and_breaks_nothing(stage: Stage, crowd: Crowd) -> None:
    """With the wait that the target asked for, in seconds and milliseconds; however often, its breakers stay closed."""
    answers = [answer for _ in range(3) for answer in crowd.answers("throttled")]
    assert {answer.headers["Retry-After"] for answer in answers} == {"7"}
    assert {answer.headers["x-amz-retry-after"] for answer in answers} == {"7000"}
    rows = json.loads(stage.running.read("/admin/breakers"))["breakers"]
    assert [(row["worker"], row["state"]) for row in rows if row["target"] == "busy"] == [
        (0, "closed"),
        (1, "closed"),
    ]


def test_when_all_are_out_the_last_resort_is_asked(stage: Stage, crowd: Crowd) -> None:
    """The only target is dead; once its breakers are open, nobody is told so any more."""
    *_, last = [crowd.answers("desperate") for _ in range(12)]
    assert {(answer.status, answer.headers["x-pointsman-target"]) for answer in last} == {(200, "quick")}


def test_a_hedge_fires_its_loser_is_cancelled_and_its_budget_holds(stage: Stage, crowd: Crowd) -> None:
    """Half of the requests may be hedged and are, in each worker, and cost an attempt each.

    The losers are gone before the slow target has answered anybody; how soon is printed.
    """
    slow, before = stage.engines["slow"], len(stage.engines["slow"].seen)
    counters = [
        ("pointsman_hedges_total", {"model": "hedged", "result": "won"}),
        ("pointsman_attempts_total", {"target": "slow", "result": "given_up"}),
    ]
    counted = [stage.counted(name, **labels) for name, labels in counters]
    answers = crowd.answers("hedged")
    hedged = [answer for answer in answers if answer.headers["x-pointsman-target"] == "quick"]
    stage.engines.until(lambda: len(slow.seen) == before + CLIENTS)
    assert {answer.status for answer in answers} == {200}
    stage.hedged.append(len(hedged))
    assert len(hedged) >= 2
    assert sum(stage.hedged) <= CLIENTS * len(stage.hedged) / 2
    gone = [seen.gone for seen in slow.seen[before:] if seen.gone is not None]
    assert len(gone) == len(hedged)
    assert max(gone) < min(answer.at for answer in answers if answer not in hedged)
    assert [stage.counted(name, **labels) for name, labels in counters] == [had + len(gone) for had in counted]
    late = max(gone) - max(answer.at for answer in hedged)
    print(f"hedges: the last loser was gone {late * 1000:.0f} ms after the last winner's answer was read")


def test_a_dead_target_is_left_alone(stage: Stage, crowd: Crowd) -> None:
    """After five failures each worker goes to the fallback at once, and `/admin/breakers` says so."""
    rounds = [crowd.answers("spared") for _ in range(12)]
    assert {answer.status for answers in rounds for answer in answers} == {200}
    assert {answer.headers["x-pointsman-attempts"] for answer in rounds[-1]} <= {"1", "2"}
    attempts = sum(int(answer.headers["x-pointsman-attempts"]) for answers in rounds for answer in answers)
    # A breaker that is open for five seconds and more lets one probe through each time.
    assert attempts < 2 * len(rounds) * CLIENTS
    rows = json.loads(stage.running.read("/admin/breakers"))["breakers"]
    assert {row["worker"] for row in rows if row["target"] == "dead"} == {0, 1}


def test_who_finds_no_place_is_told_at_once_and_others_notice_nothing(stage: Stage, crowd: Crowd) -> None:
    """Four at a time and one that waits in each worker; the next are refused while all of those are still there."""
    hot, before = stage.engines["hot"], stage.engines["hot"].asked
    asking = crowd.ask("hot")
    done: list[Answer] = []
    while len(done) + hot.inside + 2 < CLIENTS:
        done = [each.result() for each in asking if each.done()]
        time.sleep(0.01)
    assert hot.asked - before <= 4
    assert {answer.refusal for answer in done} == {(429, "ThrottlingException")}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in done)
    with ExitStack() as stack:
        assert {answer.status for answer in stage.crowd(stack, CLIENTS).answers("cool")} == {200}
        assert hot.inside > 0
    stage.engines.release("hot")
    assert {answer.status for answer in (each.result() for each in asking)} == {200, 429}
    stage.engines.hold("hot")


def test_a_session_goes_to_its_copy_whoever_is_asked(stage: Stage, crowd: Crowd) -> None:
    """Either worker knows the copy by the tag of the id; the copy sees the id that it minted."""
    opened = {answer.headers[NEW_SESSION].split(";")[0] for answer in crowd.answers("sessions", session="NEW_SESSION")}
    for session in (*opened, *stage.sessions):
        minted = session.partition("-pm")[0]
        told = {answer.body for answer in crowd.answers("sessions", session=session)}
        assert told == {f"{minted.removeprefix('s-')} {minted}".encode()}
    stage.sessions.update(opened)


def test_prompts_that_begin_alike_go_to_one_replica(stage: Stage, crowd: Crowd) -> None:
    """Whoever is asked, and whatever happened in between."""
    for number in range(4):
        beginning = b"%064d" % number
        homes = {answer.body for end in (b"a", b"b") for answer in crowd.in_turn("alike", beginning + end)}
        assert len(homes) == 1
        assert stage.homes.setdefault(beginning, homes) == homes


def test_an_owner_has_one_quota(stage: Stage, crowd: Crowd) -> None:
    """Eight an hour for both workers together: one of them alone lets more than its half in, and neither a reload nor a
    new worker gives anything back."""
    answers = [crowd.one(0, "theirs").result() for _ in range(6)]
    assert {answer.status for answer in answers} == ({429} if stage.served else {200})
    answers += [answer for _ in range(3) for answer in crowd.answers("theirs")]
    assert {answer.refusal for answer in answers if answer.status != 200} == {(429, "ThrottlingException")}
    stage.served.append(sum(answer.status == 200 for answer in answers))
    assert stage.served in ([8], [8, 0], [8, 0, 0])


def test_a_stream_that_its_client_leaves_is_charged(stage: Stage, crowd: Crowd) -> None:
    """By its events, since nobody counts its tokens: the quota is spent by the first of them."""
    engine, before = stage.engines["says"], len(stage.engines["says"].seen)
    reading = []
    for connection in crowd.connections:
        connection.request("POST", "/endpoints/counted/invocations-response-stream", BODY)
    for connection in crowd.connections:
        answer = connection.getresponse()
        reading += [answer] if answer.status == 200 and answer.read(1) else []
    assert reading or stage.counted("pointsman_shed_total", model="counted", reason="owner") > 0
    for connection in crowd.connections:
        connection.close()
    stage.engines.until(lambda: len(engine.seen) == before + len(reading))
    with ExitStack() as stack:
        assert {answer.refusal for answer in stage.crowd(stack).answers("counted")} == {(429, "ThrottlingException")}


@pytest.mark.parametrize("operation", ["invocations", "invocations-response-stream"])
def test_an_upstream_call_ends_with_its_client(stage: Stage, crowd: Crowd, operation: str) -> None:
    """Of streams too, and in both workers; how soon is printed."""
    engine = stage.engines["says" if "stream" in operation else "hangs"]
    before, inside = len(engine.seen), engine.inside
    for connection in crowd.connections:
        endpoint = "stream" if "stream" in operation else "left"
        connection.request("POST", f"/endpoints/{endpoint}/{operation}", BODY)
    stage.engines.until(lambda: engine.inside == inside + CLIENTS)
    left = time.monotonic()
    for connection in crowd.connections:
        connection.close()
    stage.engines.until(lambda: len(engine.seen) == before + CLIENTS)
    late = max(seen.gone or left for seen in engine.seen[before:]) - left
    print(f"{operation}: upstream calls ended {late * 1000:.0f} ms after their clients")


def test_a_body_that_trickles_is_refused(stage: Stage, crowd: Crowd) -> None:
    """However steadily it comes: one typed answer that SDKs may repeat, the connection's end, and no target asked."""
    asked = stage.engines["quick"].asked
    trickling = [socket.create_connection(("127.0.0.1", stage.running.port), 60) for _ in crowd.connections]
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(_trickled, trickling))
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"x-amzn-ErrorType: RequestTimeoutException" in answer
    assert stage.engines["quick"].asked == asked


def _trickled(connection: socket.socket) -> bytes:
    """All that is said to a client that sends a byte at a time."""
    with connection:
        connection.sendall(b"POST /endpoints/cool/invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n")
        while not select.select([connection], [], [], 0.05)[0]:
            connection.sendall(b"x")
        said = b""
        with suppress(ConnectionError):
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                said += piece
        return said
