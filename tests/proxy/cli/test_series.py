"""Which series of a trace are the requests of which model."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from policies.load import load_policy
from proxy.cli import StartError
from proxy.cli.series import series_of
from warmers.arrivals import gather
from warmers.traces import Traces

TABLE = load_policy(
    """\
apiVersion: pointsman/v1
account: "123456789012"
targets: {gpu: {kind: endpoint, endpoint: gpu, region: us-east-1}}
endpoints: {a: {serve_from: gpu}, b: {serve_from: gpu}}
""",
    {},
)


def traces(names: Sequence[str], complete: bool = False) -> Traces:
    counts = {name: turn + 1 for turn, name in enumerate(names)}
    return Traces(tuple(names), lambda name: gather([(0.0, counts[name])], 600.0), complete, 600.0, None)


def requests(found: Traces, *mapped: str) -> dict[str, int]:
    return {route.key: arrivals.requests for route, arrivals in series_of(TABLE, found, list(mapped))}


def test_a_series_is_its_namesakes_unless_it_is_mapped() -> None:
    """Names decide, then the map, then the map's star."""
    assert requests(traces(["a", "b"])) == {"a": 1, "b": 2}
    assert requests(traces(["x", "y"]), "a=y", "*=x") == {"a": 2, "b": 1}


def test_the_only_series_is_everybodys() -> None:
    """Unless the trace names every model: then who is not in it had no request."""
    assert requests(traces(["x"])) == {"a": 1, "b": 1}
    assert requests(traces(["a"], complete=True)) == {"a": 1, "b": 0}


@pytest.mark.parametrize("mapped", ["a", "a=none", "c=x"])
def test_a_map_that_leads_nowhere_is_refused(mapped: str) -> None:
    """The message says what there is."""
    with pytest.raises(StartError, match="--map"):
        requests(traces(["x", "y"]), mapped)


def test_a_model_without_a_series_is_refused() -> None:
    """A trace that may be incomplete is not taken for silence."""
    with pytest.raises(StartError, match="no series a"):
        requests(traces(["x", "y"]))
