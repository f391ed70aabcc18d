"""Which target a request goes to, and which one next when that fails.

The first target is chosen by weighted rendezvous hashing: every target of the split scores `-weight / ln(h)`, h in
(0, 1) being a hash of the key and the target's name, and the highest score wins. A target's share of the keys is its
weight over the sum; raising one weight raises one score and so moves keys to that target only; and every process
agrees without talking. (Schindelhauer and Schomaker, "Weighted distributed hash tables", 2005.)

Promises: a plan holds only targets inside the route's boundary; no target twice, but for the retry of the only one
there is; never more attempts than the route's rule. Cost depends on the route's own targets, not on the policy's size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import blake2b

from .facts import FailureFacts, Fault
from .retries import wait_before
from .sessions import Home
from .standing import Draw, Views, ejected, health, replica
from .table import RetryRule, Route, Sticky, Target, Weighted
from .values import value


@value(frozen=True, slots=True)
class Attempt:
    """One try at one replica of a target."""

    target: Target
    replica: int = 0


@value(frozen=True, slots=True)
class Plan:
    """What to try, in order. `attempts[0]` is next; a plan without attempts has nowhere to go, and `why` says why."""

    attempts: tuple[Attempt, ...]
    made: int
    """Attempts that are over."""
    why: str
    """What made `attempts[0]` the next one, for logs; it holds no key, body or header."""
    rule: RetryRule
    idempotent: bool
    client_retries: bool = False
    """The client's SDK is repeating the request by itself."""
    repeats: int = 0
    """How often the target of `attempts[0]` has been tried before."""
    wait: float = 0.0
    """Seconds to wait before `attempts[0]`."""
    charged: bool = False
    """`attempts[0]` has to be paid for from the route's budget of repeats."""
    side: str | None = None
    """Of a migrating route: the target that the request is meant for, even if that one is left out for now."""


@value(frozen=True, slots=True)
class RuledOut:
    """A target of the route that a request cannot go to."""

    target: Target
    reason: str


@value(frozen=True, slots=True)
class Explanation:
    """A choice laid open. `shares` are of keys, over the first choices that are left."""

    route: Route
    plan: Plan
    shares: tuple[tuple[Target, float], ...]
    ruled_out: tuple[RuledOut, ...]
    drawn: bool
    """There was no key and more than one first choice: the next request may go elsewhere."""


def sticky_key(
    sticky: Sticky,
    session_id: str | None,
    inference_id: str | None,
    header: Callable[[str], str | None],
    body: bytes = b"",
) -> str | None:
    """What keeps this caller on one side of a split; None when the route or the request has nothing of the kind.

    `NEW_SESSION` is what every caller sends to open a session, so it is no key.
    """
    match sticky.by:
        case "session":
            return session_id if session_id != "NEW_SESSION" else None
        case "inference-id":
            return inference_id
        case "header" if sticky.header:
            return header(sticky.header)
        case "prefix":
            return blake2b(body[: sticky.prefix], digest_size=16).hexdigest()
        case _:
            return None


def first_plan(
    route: Route, views: Views, key: str | None, draw: Draw, body_size: int = 0, sdk_attempt: int = 1
) -> Plan:
    """The plan of a new request. Targets that refuse a body of `body_size` bytes are left out while others remain.

    `sdk_attempt` is which attempt of the client's own this is, from 1. From the second on we repeat nothing at the same
    target: two loops of retries, one inside the other, would multiply.
    """
    if route.sole is not None and sdk_attempt == 1:
        return only(route, route.sole)
    first, spare = _roomy(route, body_size)
    targets = {one.name: one for one in (*(weighted.target for weighted in first), *spare)}
    caller = None if route.sticky.by == "prefix" else key  # many may begin alike: they would come back all at once
    relieved = _last_resort(route, body_size) is not None
    out = ejected(tuple(targets.values()), views, draw, caller, relieved=relieved)
    desperate = bool(out) and len(out) == len(targets)
    # A migration's share holds whoever is ejected: a side's callers go to the fallbacks, not over to the other side.
    side = _rendezvous(first, key, draw) if route.shift is not None else None
    if out and not desperate:
        names = {target.name for target in out}
        first = [weighted for weighted in first if weighted.target.name not in names]
        # A fallback that is just back is spared what others can do, and asked where they have no answer.
        spare = [
            *(target for target in spare if target.name not in names),
            *(target for target in spare if target.name in names and health(target, views) > 0.0),
        ]
    if side is None:
        chosen = _rendezvous(first, key, draw)
    else:
        elsewhere = any(target is not side for target in spare)
        chosen = None if elsewhere and any(target is side for target in out) else side
    if desperate:
        near = {side.name, *(target.name for target in spare)} if side is not None else targets.keys()
        # Of a migration each side is asked by its own callers first: what hits both must not count against one alone.
        near_out = sorted((target for target in out if target.name in near), key=lambda target: target is not side)
        usual = [side or _rendezvous([one for one in first if health(one.target, views)], key, draw), *spare]
        order, why = _desperate(route, near_out, usual, views, body_size)
    elif chosen is not None:
        rest = [target for target in spare if target.name != chosen.name]
        order = _well_first([chosen, *rest], views) if out else [chosen, *rest]
        how = "drawn by weight" if key is None else "by the caller's key"
        if order[0] is chosen:
            why = f"{route.rule}: {chosen.name}" + (f", {how}" if len(first) > 1 else "")
        else:
            why = f"{route.rule}: {order[0].name}, a fallback, as the breaker of {chosen.name} is open"
    else:
        order = _well_first(spare, views)
        why = f"{route.rule}: {order[0].name}, a fallback, as no first choice is left" if order else _nowhere(route)
    again = sdk_attempt > 1
    budget = min(route.retry.attempts, len(order)) if again else route.retry.attempts
    attempts = tuple(_attempts(order, budget, views, key, draw))
    meant = side.name if side is not None else None
    return Plan(attempts, 0, why, route.retry, route.idempotent, again, side=meant)


def only(route: Route, target: Target) -> Plan:
    """What `first_plan` makes where `target` is the route's `sole`, whatever is known of it, on the client's first
    attempt: the same for each request, and most routes are so."""
    rule = route.retry
    attempts = (Attempt(target),) * rule.attempts
    return Plan(attempts, 0, f"{route.rule}: {target.name}", rule, route.idempotent)


def plan_for(route: Route, home: Home, sdk_attempt: int = 1) -> Plan:
    """The plan of a request that belongs to a session: the copy where it lives, and nowhere else."""
    budget = 1 if sdk_attempt > 1 else route.retry.attempts
    attempts = (Attempt(home.target, home.replica),) * budget
    why = f"{route.rule}: {home.target.name}, where the session lives"
    return Plan(attempts, 0, why, route.retry, route.idempotent, sdk_attempt > 1)


def after_failure(plan: Plan, facts: FailureFacts, left: float = math.inf, draw: Draw = float) -> Plan | None:
    """The plan after its next attempt failed, or None when the failure is the answer.

    `left` is how many seconds the request still has: a wait that does not fit is not begun. Repeats at one target, of
    what may have run, and of what the client repeats by itself are `charged`; a fallback that takes over from a
    target on which nothing ran is not, since it adds no work to what failed.
    """
    if not plan.attempts or plan.made + 1 >= plan.rule.attempts:
        return None
    if facts.fault is Fault.CALLER or facts.retry_safe is False:
        return None
    if facts.retry_safe is None and not plan.idempotent:
        return None
    failed, tried = plan.attempts[0].target.name, plan.attempts[0].replica
    following = plan.attempts[1:]
    if facts.cold or facts.shed:
        # A cold copy has been woken and will be minutes; who was shed is told so at once, and has not been counted.
        following = tuple(
            one for one in following if one.target.name != failed or (facts.cold and one.replica != tried)
        )
    if left <= 0 or not following:
        return None
    same = following[0].target.name == failed and not facts.cold
    repeats = plan.repeats + 1 if same else 0
    if same and facts.retry_after and following[0].replica != tried:
        # One copy asked for the wait, and the next one is another: this request does not come back to the first.
        following = tuple(one for one in following if one.target.name != failed or one.replica != tried)
        wait = wait_before(repeats, replace(facts, retry_after=None), draw)
    else:
        wait = wait_before(repeats, facts, draw) if same else 0.0
    if wait >= left:
        return None
    charged = same or facts.retry_safe is None or (plan.client_retries and not facts.cold)
    marks = [facts.fault.value]
    marks += [word for word in ("cold", "shed", "throttled", "timed_out") if getattr(facts, word)]
    why = f"{failed} failed ({', '.join(marks)}): {following[0].target.name}"
    made = plan.made + 1
    return replace(plan, attempts=following, made=made, why=why, repeats=repeats, wait=wait, charged=charged)


def attempt_deadline(plan: Plan, now: float, deadline: float) -> float:
    """Until when the plan's next attempt may take to answer, on the clock of `now` and `deadline`.

    Where a lost answer may be asked for again elsewhere, an attempt gets its share of the time that is left, so that a
    dead target leaves the next one enough. Elsewhere giving up early would win nothing: the failure is the answer.
    """
    return turn_deadline(plan, now, deadline) if plan.idempotent else deadline


def turn_deadline(plan: Plan, now: float, deadline: float) -> float:
    """Until when the plan's next attempt may wait for a place: its share of the time where another target is left.

    On any route, since who waits may go elsewhere: nothing has been sent.
    """
    if len({attempt.target.name for attempt in plan.attempts}) < 2:
        return deadline
    return now + (deadline - now) / len(plan.attempts)


def explain(route: Route, views: Views, key: str | None, draw: Draw, body_size: int = 0) -> Explanation:
    """The plan that `first_plan` makes of the same arguments, with the shares and with what was ruled out."""
    first, spare = _roomy(route, body_size)
    total = sum(weighted.weight for weighted in first)
    shares = tuple((weighted.target, weighted.weight / total) for weighted in first)
    left = {weighted.target.name for weighted in first} | {target.name for target in spare}
    ruled_out = [
        RuledOut(target, _refusal(route, target, body_size)) for target in route.targets if target.name not in left
    ]
    plan = first_plan(route, views, key, draw, body_size)
    tried = {attempt.target.name for attempt in plan.attempts}
    late = f"comes after the {route.retry.attempts} attempts that a request has"
    ruled_out += [RuledOut(target, late) for target in spare if target.name not in tried]
    return Explanation(route, plan, shares, tuple(ruled_out), key is None and len(first) > 1)


def _refusal(route: Route, target: Target, body_size: int) -> str:
    refusal = route.boundary.refusal(target)
    if refusal is not None:
        return refusal
    if target.body_limit < body_size:
        return f"takes bodies of up to {target.body_limit} bytes, this one has {body_size}"
    if route.candidate is not None and route.candidate.name == target.name:
        return "is what the route migrates to, and has no share"
    return "has weight 0"


def _roomy(route: Route, body_size: int) -> tuple[Sequence[Weighted], Sequence[Target]]:
    """First choices and fallbacks that take such a body; all of them when none does: the refusal is theirs to give."""
    first = [weighted for weighted in route.admitted if weighted.target.body_limit >= body_size]
    spare = [target for target in route.reserves if target.body_limit >= body_size]
    return (first, spare) if first or spare else (route.admitted, route.reserves)


def _rendezvous(first: Sequence[Weighted], key: str | None, draw: Draw) -> Target | None:
    if len(first) < 2:
        return first[0].target if first else None
    seed = (repr(draw()) if key is None else key).encode("utf-8", "surrogateescape") + b"\0"
    # The name breaks ties, so that the order of the file never matters.
    return max(first, key=lambda weighted: (_score(seed, weighted), weighted.target.name)).target


def _score(seed: bytes, weighted: Weighted) -> float:
    hashed = int.from_bytes(blake2b(seed + weighted.target.name.encode(), digest_size=8).digest(), "big")
    # 52 bits and a half: strictly between 0 and 1 in a double, so that the logarithm is finite and not zero.
    return -weighted.weight / math.log(((hashed >> 12) + 0.5) / 2**52)


def _attempts(order: list[Target], budget: int, views: Views, key: str | None, draw: Draw) -> list[Attempt]:
    """The order cut to the budget; a target that is alone is tried again, at another replica where it has one."""
    if len(order) != 1:
        return [Attempt(target, replica(target, views, key, draw)) for target in order[:budget]]
    target = order[0]
    begin = replica(target, views, key, draw)
    return [Attempt(target, (begin + turn) % target.replicas) for turn in range(budget)]


def taken_back(route: Route, plan: Plan, following: Plan) -> bool:
    """Whether a migration's candidate has failed, and the target that it takes over from is asked: that is no more than
    it carried before. So it costs no repeat, however many fail, in however many processes, and however many are still
    out when all of them are taken back."""
    if route.shift is None:
        return False
    return plan.attempts[0].target.name == route.shift.new and following.attempts[0].target.name == route.shift.old


def _well_first(order: Sequence[Target], views: Views) -> list[Target]:
    """The order, with those whose breaker is open at the end: they are there since no more may be left out, and are for
    when none of the others has an answer."""
    return sorted(order, key=lambda target: health(target, views) == 0.0)


def _desperate(
    route: Route, out: Sequence[Target], usual: Sequence[Target | None], views: Views, body_size: int
) -> tuple[list[Target], str]:
    """The order when every target is ejected: certain failure would help nobody.

    Those that are only left out while they come back are no worse than others: they are asked in the `usual` order, so
    that what all of them shared is not sent to one.
    """
    last = _last_resort(route, body_size)
    if last is not None:
        order = [last, *(target for target in out if target.name != last.name)]
        return order, f"{route.rule}: {last.name}, the last resort, as all others are ejected"
    back = {target.name: target for target in out if health(target, views) > 0.0}
    if not back:
        return list(out), f"{route.rule}: {out[0].name}, the least bad, as all are ejected"
    first = {target.name: target for target in usual if target is not None and target.name in back}
    order = list({**first, **back, **{target.name: target for target in out}}.values())
    return order, f"{route.rule}: {order[0].name}, which is just back, as no other is well"


def _last_resort(route: Route, body_size: int) -> Target | None:
    last = route.last_resort
    return last if last is not None and last.body_limit >= body_size else None


def _nowhere(route: Route) -> str:
    reasons = (f"{target.name}: {_refusal(route, target, 0)}" for target in route.targets)
    return f"{route.rule}: no target may serve it ({'; '.join(reasons) or 'the route has none'})"
