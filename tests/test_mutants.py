"""Deliberate mistakes in the places where clients would notice them first: each makes its own tests fail.

A test that can't fail proves nothing. Every mutant is one edit of one shipped file in a copy of the tree; the tests
named beside it are run there and must fail, and must have been able to pass: they run unmutated in the suite itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
COPIED = ("policies", "backends", "warmers", "deploy", "proxy", "tests", "docs", "examples")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake: in `file`, `right` becomes `wrong`; `tests` notice."""

    name: str
    file: str
    right: str
    wrong: str
    tests: str


MUTANTS = (
    Mutant(
        "an alert that has not gone out yet counts as told",
        "warmers/migrations/telling.py",
        "self._told != self._marked and self._settled()",
        "self._told != self._marked",
        "tests/warmers/migrations/test_telling.py",
    ),
    Mutant(
        "whoever started a migration approves its steps",
        "policies/migration_commands.py",
        "_person(state.started_by) == _person(command.who)",
        "state.started_by == command.who",
        "tests/policies/test_migration_commands.py",
    ),
    Mutant(
        "whoever writes a migration's state last wins",
        "backends/state/valkey.py",
        "if version ~= ARGV[2] or (found and version == '0') then return 0 end",
        "",
        "tests/backends/state/test_store.py -k replaced_by_who_has_seen_it",
    ),
    Mutant(
        "a store that is away takes everything back",
        "warmers/migrations/follower.py",
        "            self._cut_off(error)\n            return\n        self._say_commanded(",
        "            self._adopt({})\n            return\n        self._say_commanded(",
        "tests/warmers/migrations/test_follower.py",
    ),
    Mutant(
        "records of a writer that died are lost",
        "warmers/migrations/ledger.py",
        "        if before is not None:\n            await self._copy(before)\n",
        "",
        "tests/warmers/migrations/test_ledger.py",
    ),
    Mutant(
        "a rollback takes for granted that there is room",
        "warmers/migrations/rooms.py",
        "min(1.0, units / before) if before else 0.0",
        "1.0",
        "tests/warmers/migrations/test_rooms.py",
    ),
    Mutant(
        "a cold model is a failure of its target's",
        "policies/breaker.py",
        "if facts.cold or facts.throttled",
        "if facts.throttled",
        "tests/policies/test_breaker.py",
    ),
    Mutant(
        "each caller sends a restore probe of its own",
        "warmers/restoring.py",
        "if self._parts.temperatures.asked(target) or target.name in self._running:",
        "if False:",
        "tests/warmers/test_restoring.py",
    ),
    Mutant(
        "a request spills to a target that is cold as well",
        "policies/spilling.py",
        "if target.name not in out and ",
        "if ",
        "tests/policies/test_spilling.py",
    ),
    Mutant(
        "a request is held past the time that an answer needs",
        "proxy/cold.py",
        "if room > temperatures.earliest(target, now):",
        "if True:",
        "tests/proxy/test_cold.py",
    ),
    Mutant(
        "who is held where nothing else can ask the target waits for others to do so",
        "proxy/cold.py",
        "wait = room if probed else min(room, temperatures.until_try(target, now))",
        "wait = room",
        "tests/proxy/test_cold.py",
    ),
    Mutant(
        "a session spills to a copy that knows nothing of it",
        "proxy/cold.py",
        "        if sessions.home(route, invocation.session_id) is not None:\n            return None\n",
        "",
        "tests/proxy/test_cold.py",
    ),
    Mutant(
        "all traffic comes back at once to a single copy",
        "policies/temperature.py",
        "return min(1.0, max(FIRST_SHARE, (now - temperature.restored) / SLOW_START))",
        "return 1.0",
        "tests/policies/test_temperature.py",
    ),
    Mutant(
        "a policy that the first worker refuses goes to the others",
        "proxy/workers/pool.py",
        "                raise PolicyError(problems, policy.name)\n",
        "                pass\n",
        "tests/proxy/workers/test_pool.py",
    ),
    Mutant(
        "a worker accepts before all could serve",
        "proxy/workers/pool.py",
        'if all(other.state == "ready" for other in self.slots):',
        "if True:",
        "tests/proxy/workers/test_pool.py",
    ),
    Mutant(
        "what a worker has counted goes with it",
        "proxy/workers/counts.py",
        "        self._gone.merge(ended)\n",
        "",
        "tests/proxy/workers/test_counts.py",
    ),
    Mutant(
        "a worker numbers policies by itself",
        "proxy/policy_source.py",
        "        return self.generation\n\n    def read_file",
        "        return before + changed\n\n    def read_file",
        "tests/proxy/workers/test_worker.py",
    ),
    Mutant(
        "each of several workers lets a target bear all that it may",
        "backends/gates.py",
        "target.limit.part(self._workers)",
        "target.limit",
        "tests/backends/test_gates.py",
    ),
    Mutant(
        "a copy leaves the data boundary",
        "warmers/shadow/plans.py",
        " or route.boundary.refusal(new) is not None",
        "",
        "tests/warmers/shadow/test_plans.py",
    ),
    Mutant(
        "a copy goes out with the client's session",
        "warmers/shadow/shadows.py",
        "        session_id=None,\n",
        "",
        "tests/warmers/shadow/test_shadows.py",
    ),
    Mutant(
        "a copy takes a client's place",
        "backends/gates.py",
        "        self.of(target).spare += 1\n",
        "        self.of(target).active += 1\n",
        "tests/backends/test_gates.py",
    ),
    Mutant(
        "a standstill passes for overload",
        "policies/limits.py",
        "            stood_from, stood_until = now - silent, now\n",
        "            pass\n",
        "tests/policies/test_limits.py",
    ),
    Mutant(
        "a hedge is sent on credit",
        "policies/hedging.py",
        "if purse >= 1.0 else None",
        "if purse >= 0.0 else None",
        "tests/policies/test_hedging.py",
    ),
    Mutant(
        "what is slow and cancelled is left out of what is known of a target",
        "proxy/hedges.py",
        "if answered or self._late:",
        "if answered:",
        "tests/proxy/test_hedges.py",
    ),
    Mutant(
        "a captured request is new to another worker",
        "proxy/replays.py",
        "mmap.mmap(descriptor, SIZE)",
        "mmap.mmap(-1, SIZE)",
        "tests/proxy/test_replays.py",
    ),
    Mutant(
        "what nobody has counted is free",
        "proxy/charging.py",
        "return estimated(asked, len(reply.body))",
        "return 0",
        "tests/proxy/test_charging.py",
    ),
    Mutant(
        "an answer that differs little is rounded into the proof of it",
        "policies/agreement.py",
        "edge = 1 if side < 0 else 0",
        "edge = 0 if side < 0 else 1",
        "tests/policies/test_agreement.py",
    ),
    Mutant(
        "an answer and a failure have something in common",
        "backends/wire/comparison/scoring.py",
        "    if one.answered or other.answered:\n        return float(one.answered and other.answered)\n",
        "    if one.answered or other.answered:\n        return 0.5\n",
        "tests/backends/wire/comparison/test_scoring.py",
    ),
    Mutant(
        "missing evidence is taken for good",
        "policies/migration.py",
        "if verdict is None or verdict.missing:",
        "if verdict is not None and verdict.missing:",
        "tests/policies/test_migration.py",
    ),
    Mutant(
        "a rollback does not look for room",
        "policies/migration_retreat.py",
        "return max(carried(state), shown)",
        "return 1.0",
        "tests/policies/test_migration_rollbacks.py",
    ),
    Mutant(
        "a gate is tested as if it were looked at once",
        "policies/sequential.py",
        "(math.log1p(wide) - 2 * math.log(chance))",
        "-math.log(chance)",
        "tests/policies/test_sequential.py",
    ),
    Mutant(
        "a side's callers go over to the other one while it is ejected",
        "policies/choose.py",
        "if route.shift is not None else None",
        "if route.shift is not None and not out else None",
        "tests/policies/test_overlay.py",
    ),
    Mutant(
        "frame CRC leaves out the head",
        "backends/wire/eventstream.py",
        "return head, crc32(head)",
        "return head, 0",
        "tests/backends/wire/test_eventstream.py",
    ),
    Mutant(
        "ARN is not encoded on the wire",
        "backends/wire/bedrock/requests.py",
        "quote(spec.model, safe='')",
        "quote(spec.model, safe=':/')",
        "tests/backends/wire/bedrock/test_requests.py",
    ),
    Mutant(
        "target of a new policy is called where the old one was",
        "backends/addresses.py",
        "if known is None or known.target is not target:",
        "if known is None:",
        "tests/backends/test_addresses.py",
    ),
    Mutant(
        "signature with the credentials of the request before",
        "backends/wire/sigv4.py",
        "if key is None or place.credentials is not credentials or place.day != day:",
        "if key is None or place.day != day:",
        "tests/backends/wire/test_sigv4.py",
    ),
    Mutant(
        "path is signed as sent, not encoded once more",
        "backends/wire/sigv4.py",
        'return quote(path, safe="/~") or "/"',
        'return path or "/"',
        "tests/backends/wire/test_sigv4.py",
    ),
    Mutant(
        "header names count only in one case",
        "backends/wire/sagemaker/requests.py",
        "lower = name.lower()",
        "lower = name",
        "tests/backends/wire/sagemaker/test_requests.py",
    ),
    Mutant(
        "error type under another name",
        "backends/wire/sagemaker/errors.py",
        '("x-amzn-ErrorType", reply.type)',
        '("x-amzn-Error-Type", reply.type)',
        "tests/backends/wire/sagemaker/test_errors.py",
    ),
    Mutant(
        "message in lower case",
        "backends/wire/sagemaker/errors.py",
        '{"Message": clip(reply.message)}',
        '{"message": clip(reply.message)}',
        "tests/backends/wire/sagemaker/test_errors.py",
    ),
    Mutant(
        "stream without its last newline",
        "backends/wire/framing.py",
        'held += b"\\n"',
        "pass",
        "tests/backends/wire/test_framing.py",
    ),
    Mutant(
        "broken stream ends cleanly",
        "proxy/faces/passage.py",
        "        else:\n            await self._exchange.write(frame)",
        "        else:\n            pass",
        "tests/proxy/faces/test_runtime_api.py",
    ),
    Mutant(
        "reader that was behind has its upstream called silent",
        "backends/http/connection.py",
        "                self._answer.heard_again()",
        "                pass",
        "tests/backends/http/test_arriving.py",
    ),
    Mutant(
        "answer that was released reads on in the next one",
        "backends/http/connection.py",
        "        answer.left()",
        "        pass",
        "tests/backends/http/test_connection.py",
    ),
    Mutant(
        "lost answer counts as safe to send again",
        "backends/http/arriving.py",
        "retry_safe=None if self.sent else True",
        "retry_safe=True",
        "tests/backends/http/test_transport.py",
    ),
    Mutant(
        "deadline becomes an error that SDKs repeat",
        "proxy/faces/failures.py",
        "return wire.model_timeout(**_place(error, record))",
        "return wire.service_unavailable(None)",
        "tests/proxy/faces/test_failures.py",
    ),
    Mutant(
        "boundary lets weaker isolation in",
        "policies/table.py",
        "if target.isolation < self.isolation:",
        "if target.isolation > self.isolation:",
        "tests/policies/test_choose.py tests/policies/test_table.py",
    ),
    Mutant(
        "a larger weight loses keys",
        "policies/choose.py",
        "return -weighted.weight / math.log",
        "return weighted.weight / math.log",
        "tests/policies/test_choose.py",
    ),
    Mutant(
        "a lost answer is sent again by OpenAI's clients",
        "proxy/faces/openai_failures.py",
        "again = facts.retry_safe is not True",
        "again = False",
        "tests/proxy/faces/test_openai_failures.py",
    ),
    Mutant(
        "a container is healthy without its route",
        "proxy/faces/container.py",
        "return Answer(503,",
        "return Answer(200,",
        "tests/proxy/faces/test_container.py",
    ),
    Mutant(
        "the byte budget is never given back",
        "backends/http/limits.py",
        "self.used -= size",
        "self.used -= 0",
        "tests/backends/http/test_edge.py",
    ),
)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_mistake_is_noticed(mutant: Mutant, tmp_path: Path) -> None:
    """The tests of the mutated file fail: not by an import error, but by an assertion."""
    for name in COPIED:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / mutant.file
    text = path.read_text()
    assert text.count(mutant.right) == 1, "the mutant no longer fits the file: write it anew"
    path.write_text(text.replace(mutant.right, mutant.wrong))
    words = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", *mutant.tests.split()]
    environment = dict(os.environ) | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    # Not "1 failed", which is missing where what a mistake leaves open spoils the very end of the run.
    assert (done.returncode, "\nFAILED " in done.stdout) == (1, True), done.stdout[-2000:] + done.stderr[-2000:]
