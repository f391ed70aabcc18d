"""What `wiring.py` needs for copies of requests: made where there is shared state; nothing migrates without it."""

from __future__ import annotations

from contextlib import AsyncExitStack

from backends.gates import Gates
from backends.meters import Meters
from backends.state import Store
from warmers import ping
from warmers.migrations.follower import Follower
from warmers.prices import open_prices
from warmers.shadow import Differences, Parts, Purse, Shadows, Sharing


def shadows_of(
    store: Store,
    follower: Follower,
    pings: ping.Parts,
    gates: Gates,
    meters: Meters,
    parts: AsyncExitStack,
) -> Shadows:
    """The copies of one process, made inside its loop. `parts` closes what has to be.

    What they show goes to the fleet by `follower`; `pings` has what copies and warm-ups work with alike.
    """
    worker, purse = pings.new_id(), Purse(open_prices)
    differences = Differences(worker, pings.new_id, meters.shadow.difference)
    parts.callback(differences.close)
    shadows = Shadows(
        Parts(
            table=pings.table,
            backends=pings.backends,
            book=pings.book,
            gates=gates,
            meters=meters,
            temperatures=pings.temperatures,
            purse=purse,
            now=pings.now,
            wall=pings.wall,
            draw=pings.draw,
            new_id=pings.new_id,
            trace=pings.trace,
            tell=pings.tell,
            pause=pings.pause,
            sharing=Sharing(store, purse, worker, pings.wall),
            keep=differences.keep,
        )
    )
    follower.also(shadows.collect)
    return shadows
