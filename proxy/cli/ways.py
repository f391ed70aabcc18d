"""How the quickstarts print where a route leads."""

from __future__ import annotations

from policies.table import Route


def way(route: Route) -> str:
    """One line: the targets with their kinds, their shares where there are several, and the fallbacks."""
    total = sum(each.weight for each in route.serve)
    shares = [
        f"{each.target.name} ({each.target.kind})" + (f" {each.weight / total:.0%}" if len(route.serve) > 1 else "")
        for each in route.serve
    ]
    fallback = [f"else {target.name} ({target.kind})" for target in route.fallback]
    return "-> " + ", ".join(shares + fallback)
