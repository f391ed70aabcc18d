"""Deliberate mistakes in policies and backends; test_mutants.py has the others, and says what they are for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake: in `file`, `right` becomes `wrong`; `tests` notice."""

    name: str
    file: str
    right: str
    wrong: str
    tests: str


OF_POLICIES_AND_BACKENDS = (
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
        "a cold model is a failure of its target's",
        "policies/breaker.py",
        "if facts.cold or facts.throttled",
        "if facts.throttled",
        "tests/policies/test_breaker.py",
    ),
    Mutant(
        "a request spills to a target that is cold as well",
        "policies/spilling.py",
        "if target.name not in out and ",
        "if ",
        "tests/policies/test_spilling.py",
    ),
    Mutant(
        "all traffic comes back at once to a single copy",
        "policies/temperature.py",
        "return min(1.0, max(FIRST_SHARE, (now - temperature.restored) / SLOW_START))",
        "return 1.0",
        "tests/policies/test_temperature.py",
    ),
    Mutant(
        "each of several workers lets a target bear all that it may",
        "backends/gates.py",
        "limit.part(self._workers)",
        "limit",
        "tests/backends/test_gates.py",
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
        "            stood = Stood(now - silent, now)\n",
        "            pass\n",
        "tests/policies/test_limits.py",
    ),
    Mutant(
        "answers that differ by chance pass for overload",
        "policies/pace.py",
        "DOUBT = 2.0",
        "DOUBT = 0.0",
        "tests/policies/test_limits.py",
    ),
    Mutant(
        "a target that is slower for good is strangled",
        "policies/limits.py",
        "    if relieved(episode.before, recent) is False:\n",
        "    if relieved(episode.before, recent) is None:\n",
        "tests/policies/test_limits.py",
    ),
    Mutant(
        "each process measures the queue of the others",
        "policies/limits.py",
        "now // turn != before // turn and",
        "now - before > 0.0 and",
        "tests/policies/test_limits.py",
    ),
    Mutant(
        "a target that is held is never let go without an answer",
        "backends/gates.py",
        "        if limit.hold is None:\n            return False\n",
        "        if limit is not None:\n            return False\n",
        "tests/backends/test_gate_limits.py",
    ),
    Mutant(
        "a hedge is sent on credit",
        "policies/hedging.py",
        "if purse >= 1.0 else None",
        "if purse >= 0.0 else None",
        "tests/policies/test_hedging.py",
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
        "few failures are taken for a normal number",
        "policies/sequential.py",
        "1 - low - allowed) < MANY",
        "1 - low - allowed) < 0",
        "tests/policies/test_sequential.py",
    ),
    Mutant(
        "a shared state that went back undoes a rollback",
        "warmers/migrations/follower.py",
        "or _before(kept[name].state, state)",
        "or False",
        "tests/warmers/migrations/test_follower.py",
    ),
    Mutant(
        "a laptop's clock decides when a hold began",
        "warmers/migrations/orders.py",
        "late = report.at - now if report is not None else 0.0",
        "late = 0.0",
        "tests/warmers/migrations/test_orders.py",
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
        "if known is target:",
        "if known is not None:",
        "tests/backends/test_addresses.py",
    ),
    Mutant(
        "signature with the credentials of the request before",
        "backends/wire/sigv4.py",
        "            or begun.credentials is not credentials\n",
        "",
        "tests/backends/wire/test_sigv4.py",
    ),
    Mutant(
        "signature of the second before",
        "backends/wire/sigv4.py",
        "            or begun.stamp is not self._stamp\n",
        "",
        "tests/backends/wire/test_sigv4.py",
    ),
    Mutant(
        "key of the day before",
        "backends/wire/sigv4.py",
        "and before.stamp[:8] == stamp[:8]:",
        "and before.stamp:",
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
        "field = spelled.get(name) or spelled.get(name.lower(), _IGNORED)",
        "field = spelled.get(name) or _IGNORED",
        "tests/backends/wire/sagemaker/test_requests.py",
    ),
    Mutant(
        "a failure that led to itself is followed for ever",
        "backends/errors.py",
        "error.__traceback__ = error.__cause__ = error.__context__ = None",
        "error.__traceback__ = None",
        "tests/backends/test_errors.py --timeout 10",
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
        "reader that was behind has its upstream called silent",
        "backends/http/connection.py",
        "                self._answer.heard_again()",
        "                pass",
        "tests/backends/http/test_arriving.py",
    ),
    Mutant(
        "answer that was released reads on in the next one",
        "backends/http/connection.py",
        "        answer.pieces = _LEFT",
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
        "the byte budget is never given back",
        "backends/http/limits.py",
        "self.used -= size",
        "self.used -= 0",
        "tests/backends/http/test_edge.py",
    ),
)
