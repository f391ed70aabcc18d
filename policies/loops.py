"""Targets that are this proxy: a request to one would come back and go round until its deadline.

Seen here from the addresses alone; a loop over another host's name is caught at run time, by a marker on the request.
"""

from __future__ import annotations

from collections.abc import Iterator

from .addresses import host_and_port, is_loopback
from .errors import Problem, dotted
from .table import RouteTable, Target, VllmSpec


def check_loops(table: RouteTable, own_addresses: frozenset[tuple[str, int]]) -> tuple[Problem, ...]:
    """A problem for each url that is one of the addresses this proxy listens on.

    `localhost`, `127.x.x.x`, `[::1]` and the any-addresses are one host. A proxy that listens on all interfaces passes
    the addresses of these as well, for nothing here looks them up.
    """
    own = {(_host(host), port) for host, port in own_addresses}
    problems = []
    for target in table.targets.values():
        for key, url in _urls(target):
            host, port = host_and_port(url)
            if (_host(host), port) in own:
                path = dotted(("targets", target.name, *key))
                message = f"is this proxy itself ({host}:{port}): requests would go round; give the model's own url"
                problems.append(Problem(path, target.source_line, message))
    return tuple(problems)


def _host(host: str) -> str:
    name = host.strip("[]").rstrip(".").lower()
    return "loopback" if is_loopback(name) else name


def _urls(target: Target) -> Iterator[tuple[tuple[str | int, ...], str]]:
    spec = target.spec
    if isinstance(spec, VllmSpec):
        for index, url in enumerate(spec.urls):
            yield ("urls", index) if len(spec.urls) > 1 else ("url",), url
    elif spec.url is not None:
        yield ("url",), spec.url
