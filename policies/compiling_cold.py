"""What a route says of cold targets, checked against the rest of the route."""

from __future__ import annotations

from . import schema
from .errors import Path
from .findings import Findings
from .quantities import show_seconds
from .table import Route


def when_cold(written: str | None, *, fallback: bool) -> str:
    """The route's answer to a cold target: as written, else spill where there is a fallback and fail elsewhere.

    While a route migrates, the old target is a fallback of the new one.
    """
    return written or ("spill" if fallback else "fail")


def check_cold(route: Route, block: schema.Component, path: Path, findings: Findings) -> None:
    """Note what cannot work: a spill without a place to go, a hold that always outlasts the deadline."""
    where = (*path, "when_cold")
    if block.when_cold == "spill" and not block.fallback and block.migrate is None:
        findings.add(where, "is spill, and there is no fallback to go to; name one, or write hold or fail")
    if block.when_cold != "hold":
        return
    longest = max(route.timeout, route.stream_timeout)
    for target in (one.target for one in route.serve):
        if target.restore is not None and target.restore[0] >= longest:
            least, most = show_seconds(target.restore[0]), show_seconds(longest)
            findings.add(
                where,
                f"is hold, but `{target.name}` takes at least {least} to come back and the longest deadline is {most}: "
                "nobody would be served; write spill or fail, or give more time",
            )
