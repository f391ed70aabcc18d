"""What `wiring.py` needs for migrations: a follower in every process that serves, and a controller where one decides.

Without shared state there is neither, and nothing of this is imported.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from backends.aws import CredentialSource
from backends.capacity import Capacity
from backends.control import ControlPlane
from backends.gates import Gates
from backends.http.transport import Transport
from backends.migration_counts import MigrationCounts
from backends.state import Store
from backends.temperatures import Temperatures
from policies.evidence import SLOT, Evidence
from policies.migrating import Migration
from policies.migration_state import Decision
from policies.table import RouteTable, Target
from policies.temperature import Warmth
from warmers.lease import Duty
from warmers.migrations.controller import DUTY, LEASE, Controller, Costs
from warmers.migrations.copy import Copy
from warmers.migrations.costs import dated, projected
from warmers.migrations.follower import Follower
from warmers.migrations.ledger import Ledger
from warmers.migrations.rooms import Rooms
from warmers.migrations.telling import at_once
from warmers.ping import Parts
from warmers.prices import SHIPPED, Prices, open_prices

from .alerts import Alerts
from .settings import Settings

log = logging.getLogger("pointsman.migrate")

LATE = 3600.0
"""Seconds after which a decision is in the log alone."""


def follower_of(
    store: Store,
    settings: Settings,
    worker: str,
    wall: Callable[[], float],
    counts: MigrationCounts,
    changed: Callable[[], None],
) -> Follower:
    """What follows the fleet's migrations."""
    folder = settings.state_copy
    copy = Copy(Path(folder).expanduser(), settings.state or "", worker) if folder else None
    return Follower(Ledger(store), worker, wall, changed, look=settings.state_poll, counts=counts, copy=copy)


def deciding(
    store: Store,
    settings: Settings,
    transport: Transport,
    credentials: CredentialSource,
    pings: Parts,
    gates: Gates,
    parts: AsyncExitStack,
) -> tuple[Controller, Alerts | None]:
    """What decides when it is on duty, and what tells of it. `parts` closes it all.

    `pings` has what it works with as warm-ups do: clocks, names and counts.
    """
    control = ControlPlane(credentials)
    parts.push_async_callback(control.aclose)
    alerts = Alerts(transport, settings.alert_url, pings.now, pings.pause) if settings.alert_url is not None else None
    busy = functools.partial(strained, gates, pings.temperatures, pings.now)
    rooms = Rooms(store, Capacity(transport, control.instances, pings.now).units, busy)
    duty = Duty(store, pings.new_id(), pings.wall, LEASE * settings.state_poll, DUTY)
    tell = teller(pings.meters.migrations, alerts, pings.wall, settings.alert_on)
    costs = costs_of(Path(settings.prices) if settings.prices else SHIPPED)
    settled = (lambda: alerts.settled) if alerts is not None else at_once
    look = settings.state_poll
    return Controller(Ledger(store), duty, rooms.shown, pings.wall, tell, look, costs, settled), alerts


def strained(gates: Gates, temperatures: Temperatures, now: Callable[[], float], target: Target) -> bool:
    """Whether clients of this process wait for a place at the target, or it is not loaded."""
    cold = temperatures.warmth(target, now()) in (Warmth.COLD, Warmth.WARMING)
    return cold or gates.full(target)


def costs_of(path: Path) -> Costs:
    """What migrations will cost, at the prices in a file that is read when the first is asked about.

    Without prices no cost is known, and a gate of cost is not green: that is said once.
    """

    @functools.cache
    def prices() -> Prices | None:
        try:
            return open_prices(path)
        except (OSError, ValueError) as error:
            log.warning("what migrations will cost can't be known: %s", error)
            return None

    last: dict[str, tuple[RouteTable, object, Mapping[str, Evidence]]] = {}

    def costs(plan: Migration, table: RouteTable, seen: Mapping[str, Evidence], at: float) -> Mapping[str, Evidence]:
        known = prices()
        if known is None:
            return {}
        # A look every few seconds would work out the same: only every slot of time has something new.
        of = (int(at / SLOT), plan, {route: evidence.busy for route, evidence in seen.items()})
        before = last.get(plan.name)
        if before is None or before[0] is not table or before[1] != of:
            last[plan.name] = before = (table, of, projected(plan, table, known, seen, at))
        return {route: dated(evidence, at) for route, evidence in before[2].items()}

    return costs


def teller(
    counts: MigrationCounts, alerts: Alerts | None, wall: Callable[[], float], on: str = "urgent"
) -> Callable[[Decision], None]:
    """What becomes of a decision: counted, one line of the log, and an alert.

    The alert is of what should wake somebody, with `on` = `all` of everything. What is older than `LATE` by `wall`,
    seconds since 1970, wakes nobody: no process was there to tell of it.
    """

    def tell(decision: Decision) -> None:
        counts.decided(decision.migration, decision.event.value)
        log.log(logging.WARNING if decision.alert else logging.INFO, "%s", decision.summary)
        if alerts is not None and (decision.alert or on == "all") and wall() - decision.at < LATE:
            alerts.tell(decision)

    return tell
