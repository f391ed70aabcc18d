"""Deliberate mistakes in the places where clients would notice them first: each makes its own tests fail.

A test that can't fail proves nothing. Every mutant is one edit of one shipped file in a copy of the tree; the tests
named beside it are run there and must fail, and must have been able to pass: they run unmutated in the suite itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants import OF_POLICIES_AND_BACKENDS, Mutant

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
COPIED = ("policies", "backends", "warmers", "deploy", "proxy", "tests", "docs", "examples", "benchmarks")

MUTANTS = (
    *OF_POLICIES_AND_BACKENDS,
    Mutant(
        "an alert that has not gone out yet counts as told",
        "warmers/migrations/telling.py",
        "self._told != self._marked and self._settled()",
        "self._told != self._marked",
        "tests/warmers/migrations/test_telling.py",
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
        "each caller sends a restore probe of its own",
        "warmers/restoring.py",
        "if target.name in self._running:",
        "if False:",
        "tests/warmers/test_restoring.py",
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
        "a policy that the first worker refuses goes to the others",
        "proxy/workers/pool.py",
        "                raise PolicyError(problems, policy.name)\n",
        "                pass\n",
        "tests/proxy/workers/test_pool.py",
    ),
    Mutant(
        "a changed handler that hung goes to the next worker",
        "proxy/workers/pool.py",
        "if not self._refused or not self._refused <= self._asked:",
        "if True:",
        "tests/proxy/workers/test_renewing.py",
    ),
    Mutant(
        "a worker that starts forgets the keys in force",
        "proxy/door.py",
        'kept = self._papers.last("keys")',
        "kept = None",
        "tests/proxy/test_papers.py",
    ),
    Mutant(
        "a key file that is cut within a line is read",
        "proxy/door.py",
        "if (number := cut_line(text, self._text)) is not None:",
        "if (number := cut_line(text, self._text)) == 0:",
        "tests/proxy/test_papers.py",
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
        "a target that may go cold and fails otherwise is asked without end",
        "proxy/attempts.py",
        "if error.facts.cold and services.temperatures.is_state(plan.attempts[0].target, call):",
        "if services.temperatures.is_state(plan.attempts[0].target, call):",
        "tests/proxy/test_cold.py -k fails_otherwise",
    ),
    Mutant(
        "nothing is learnt of a request whose client left",
        "proxy/attempts.py",
        "late = isinstance(error, asyncio.CancelledError) or (",
        "late = (",
        "tests/proxy/workers/test_overload.py -k leave",
    ),
    Mutant(
        "a traced request gets a coroutine for its handler's answer",
        "proxy/pipeline.py",
        "                    return given if isinstance(given, Reply) else await given\n",
        "                    return given\n",
        "tests/proxy/handlers/test_passages.py -k traced",
    ),
    Mutant(
        "an answer of the handler's own breaks its connection",
        "proxy/pipeline.py",
        "return self._answering is not None and self._answering.streams",
        "return self._answering.streams",
        "tests/proxy/faces/test_passage.py",
    ),
    Mutant(
        "a promotion does not ask for the price",
        "warmers/migrations/orders.py",
        "report is not None and report.version == state.version",
        "False",
        "tests/warmers/migrations/test_orders.py",
    ),
    Mutant(
        "a renewed certificate waits for a restart",
        "proxy/server.py",
        '        duties.append(start(renews, name="certificate-watch"))\n',
        "        renews.close()\n",
        "tests/proxy/test_server.py -k renewed",
    ),
    Mutant(
        "a request that came in one piece goes around for ever",
        "proxy/faces/runtime_api.py",
        "if invocation.hops is not None:",
        "if invocation.hops is None:",
        "tests/proxy/faces/test_runtime_api.py -k goes_around",
    ),
    Mutant(
        "a signature across two others takes the next one's place",
        "proxy/replays.py",
        "while found >= 0 and (found - at) % _ENTRY:",
        "while False:",
        "tests/proxy/test_replays.py",
    ),
    Mutant(
        "broken stream ends cleanly",
        "proxy/faces/passage.py",
        "        self._exchange.put(frame)\n",
        "",
        "tests/proxy/faces/test_runtime_api.py",
    ),
    Mutant(
        "deadline becomes an error that SDKs repeat",
        "proxy/faces/failures.py",
        "return wire.model_timeout(**_place(error, record))",
        "return wire.service_unavailable(None)",
        "tests/proxy/faces/test_failures.py",
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
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with what Python has compiled of it, which spares each mutant the compiling of all but its one file."""
    folder = tmp_path_factory.mktemp("tree")
    for name in COPIED:
        half = shutil.ignore_patterns("*.pyc.*")  # what another process is just writing
        shutil.copytree(ROOT / name, folder / name, ignore=half)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_mistake_is_noticed(mutant: Mutant, tree: Path) -> None:
    """The tests of the mutated file fail: not by an import error, but by an assertion."""
    path = tree / mutant.file
    text = path.read_text()
    assert text.count(mutant.right) == 1, "the mutant no longer fits the file: write it anew"
    words = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", *mutant.tests.split()]
    environment = dict(os.environ) | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        path.write_text(text.replace(mutant.right, mutant.wrong))
        done = subprocess.run(words, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    finally:
        shutil.copy2(ROOT / mutant.file, path)
    # Not "1 failed", which is missing where what a mistake leaves open spoils the very end of the run.
    assert (done.returncode, "\nFAILED " in done.stdout) == (1, True), done.stdout[-2000:] + done.stderr[-2000:]
