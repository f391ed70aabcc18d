"""The meters: bounded labels, merging, and the page that Prometheus reads."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.meters import Meters, result_of
from backends.metric_names import EXTRAS, METRICS
from backends.outcome import Note, Outcome, outcome_of
from tests.outcomes import attempt, notes, outcome, outcomes

SAMPLE = re.compile(r'([a-z_0-9]+)(\{(?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*\})? (\S+)')


def page(meters: Meters, **extra: float) -> dict[str, float]:
    """The rendered page, parsed: sample name with labels -> value."""
    samples = {}
    for line in meters.render(extra).splitlines():
        if not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match, line
            samples[match[1] + (match[2] or "")] = float(match[3])
    return samples


def test_a_request_is_counted_under_endpoint_component_target_and_kind() -> None:
    """The labels are SageMaker's dimensions, and the target that answered."""
    meters = Meters()
    meters.record(outcome(component="blockgen"))
    labels = '{endpoint="apexguru",component="blockgen",target="apexguru-gpu",kind="endpoint"}'
    assert page(meters)[f"pointsman_invocations_total{labels}"] == 1
    assert page(meters)[f"pointsman_overhead_latency_seconds_count{labels}"] == 1


def test_what_the_client_was_told_is_counted() -> None:
    """Status, error type and end are labels of the responses."""
    meters = Meters()
    meters.record(outcome(status=429, error_type="ThrottlingException", ended="failed"))
    key = (
        'pointsman_responses_total{endpoint="apexguru",component="",'
        'status="429",error_type="ThrottlingException",ended="failed"}'
    )
    assert page(meters)[key] == 1


def test_every_attempt_is_counted_by_target_and_result() -> None:
    """A fallback's answer does not hide the first target's failure."""
    meters = Meters()
    meters.record(outcome(attempts=(attempt("import", "bedrock", failure="not ready", cold=True), attempt())))
    samples = page(meters)
    assert samples['pointsman_attempts_total{target="import",kind="bedrock",result="cold"}'] == 1
    assert samples['pointsman_attempts_total{target="apexguru-gpu",kind="endpoint",result="answered"}'] == 1


@pytest.mark.parametrize(
    ("changes", "given_up", "result"),
    [
        ({}, True, "answered"),
        ({"failure": "x", "cold": True, "throttled": True}, False, "cold"),
        ({"failure": "x", "throttled": True}, False, "throttled"),
        ({"failure": "x", "timed_out": True}, True, "timed_out"),
        ({"failure": "x"}, False, "failed"),
        ({"failure": "x"}, True, "given_up"),
    ],
)
def test_an_attempts_result_is_one_word(changes: dict[str, Any], given_up: bool, result: str) -> None:
    """The most telling fact wins; an attempt dropped since the client left is not the target's failure."""
    assert result_of(attempt(**changes), given_up) == result


def test_only_the_attempt_under_way_is_given_up_when_the_client_leaves() -> None:
    """An earlier failure stays the target's own."""
    meters = Meters()
    meters.record(
        outcome(status=499, ended="client_gone", attempts=(attempt(failure="reset"), attempt(failure="left")))
    )
    samples = page(meters)
    assert samples['pointsman_attempts_total{target="apexguru-gpu",kind="endpoint",result="failed"}'] == 1
    assert samples['pointsman_attempts_total{target="apexguru-gpu",kind="endpoint",result="given_up"}'] == 1


def test_an_endpoint_that_the_policy_lacks_makes_no_label() -> None:
    """Neither its name nor the component named with it: both are a client's words."""
    meters = Meters()
    for number in range(3):
        meters.record(outcome(endpoint="", component=f"probe-{number}", attempts=(), status=400, ended="refused"))
    text = meters.render({})
    assert 'pointsman_invocations_total{endpoint="_unknown",component="",target="",kind=""} 3' in text
    assert "probe" not in text


def test_label_sets_are_bounded() -> None:
    """Beyond the cap everything is counted under _other, and nothing is lost."""
    meters = Meters(cap=3)
    for number in range(10):
        name = f"e{number}"
        meters.record(outcome(endpoint=name, attempts=(attempt(name),)))
        meters.flight(name).count += 1
    meters.record(outcome(endpoint="e0", attempts=(attempt("e0"),)))
    samples = page(meters)
    for family in ("pointsman_invocations_total", "pointsman_responses_total", "pointsman_attempts_total"):
        own = {name: value for name, value in samples.items() if name.startswith(family + "{")}
        assert (len(own), sum(own.values())) == (4, 11)
    assert samples['pointsman_concurrent_requests_per_model{model="_other"}'] == 7


def test_requests_in_flight_go_up_and_down() -> None:
    """The gauge is what is open now, under the cap and beyond it."""
    meters = Meters(cap=1)
    for key, delta in (("inline", 1), ("inline", 1), ("b", 1), ("inline", -1), ("b", -1)):
        meters.flight(key).count += delta
    samples = page(meters)
    assert samples['pointsman_concurrent_requests_per_model{model="inline"}'] == 1
    assert samples['pointsman_concurrent_requests_per_model{model="_other"}'] == 0


def test_reloads_and_the_policy_in_force_are_shown() -> None:
    """Good and refused policies are counted apart; the info says which one rules."""
    meters = Meters("1.2.3")
    assert not any(name.startswith("pointsman_policy_info") for name in page(meters))
    meters.policy("0123456789ab", 4)
    meters.reload(ok=True)
    meters.reload(ok=False)
    samples = page(meters)
    assert samples['pointsman_policy_reloads_total{result="ok"}'] == 1
    assert samples['pointsman_policy_reloads_total{result="refused"}'] == 1
    assert samples['pointsman_policy_info{digest="0123456789ab",generation="4"}'] == 1
    assert samples['pointsman_build_info{version="1.2.3"}'] == 1


def test_extras_are_appended_and_cannot_pass_for_the_meters_own() -> None:
    """The event loop's lag comes from outside; a name of the meters' own is refused."""
    assert page(Meters(), pointsman_event_loop_lag_seconds=0.25)["pointsman_event_loop_lag_seconds"] == 0.25
    with pytest.raises(ValueError, match="pointsman_invocations_total"):
        Meters().render({"pointsman_invocations_total": 1})


def test_every_metric_of_the_table_is_on_the_page() -> None:
    """Each has its TYPE line, exactly once, whether or not anything was counted."""
    text = Meters().render({metric.name: 0.0 for metric in EXTRAS})
    assert re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M) == [(metric.name, metric.type) for metric in METRICS]


def test_merging_adds_gauges_and_takes_the_newest_policy() -> None:
    """Over workers: requests in flight and reloads add up, the highest generation is in force."""
    one, two, none = Meters(), Meters(), Meters()
    one.policy("aaaaaaaaaaaa", 2)
    two.policy("bbbbbbbbbbbb", 3)
    two.reload(ok=False)
    one.flight("inline").count = 2
    two.flight("inline").count = 3
    for other in (two, none):
        one.merge(other)
    two.merge(one)
    for meters in (one, two):
        assert page(meters)['pointsman_policy_info{digest="bbbbbbbbbbbb",generation="3"}'] == 1
    assert page(one)['pointsman_concurrent_requests_per_model{model="inline"}'] == 5
    assert page(one)['pointsman_policy_reloads_total{result="refused"}'] == 1


@given(st.lists(outcomes, max_size=8), st.integers(0, 8))
@settings(max_examples=50)
def test_workers_pages_add_up_to_one(requests: list[Outcome], cut: int) -> None:
    """Counting in two processes, across a snapshot, shows what one process would have shown."""
    together, left, right = Meters(), Meters(), Meters()
    for index, request in enumerate(requests):
        together.record(request)
        (left if index < cut else right).record(request)
    left.merge(Meters.restore(right.snapshot()))
    assert page(left) == pytest.approx(page(together))


@given(st.lists(outcomes, max_size=4))
@settings(max_examples=50)
def test_a_snapshot_loses_nothing(requests: list[Outcome]) -> None:
    """Restoring it gives the same page."""
    meters = Meters("1.0")
    meters.policy("aaaaaaaaaaaa", 1)
    meters.flight("inline").count = 1
    for request in requests:
        meters.record(request)
    assert Meters.restore(meters.snapshot()).render({}) == meters.render({})


@pytest.mark.parametrize("snapshot", [b"", b"{}", b"[]", b'{"version":"1","series":[[["a"],{}]]}', b"\xff"])
def test_something_else_than_a_snapshot_is_refused(snapshot: bytes) -> None:
    """A worker of another version must not be half added."""
    with pytest.raises(ValueError, match=r".+"):
        Meters.restore(snapshot)


def test_hooks_of_a_release_with_other_buckets_begin_anew() -> None:
    """Bucket by shifted bucket they would be wrong, and one that is too short would leave no page at all."""
    meters = Meters("1")
    meters.record(outcome())
    meters.hook("model.py", "before", "ok", 0.3)
    data = json.loads(meters.snapshot())
    assert data["hook_times"] == data["loop_held"] == []  # whoever goes back to the first release
    data["hook_seconds"][0][2].pop()
    found = Meters("1")
    found.merge(Meters.restore(json.dumps(data).encode()))
    page = found.render({})
    assert "pointsman_handler_hook_seconds_count" not in page
    assert 'pointsman_handler_hooks_total{handler="model.py",step="before",result="ok"} 1' in page
    assert page.count("pointsman_invocations_total{") == 1


def test_a_slow_hook_is_told_from_one_of_a_tenth_of_a_second() -> None:
    """Its limit is five seconds unless said, and what it asks of other models may take a minute."""
    meters = Meters("1")
    meters.hook("model.py", "before", "ok", 0.3)
    page = meters.render({})
    assert 'pointsman_handler_hook_seconds_bucket{handler="model.py",step="before",le="0.25"} 0' in page
    assert 'pointsman_handler_hook_seconds_bucket{handler="model.py",step="before",le="0.5"} 1' in page


def test_breakers_of_several_processes_show_the_worst() -> None:
    """An ejected replica is seen although other workers have not met its failures; an old state is not kept."""
    one, other = Meters(), Meters()
    one.breakers([("gpu", 0, 2), ("gone", 0, 1)])
    one.breakers([("gpu", 0, 2), ("gpu", 1, 0)])
    other.breakers([("gpu", 0, 0), ("gpu", 1, 1)])
    one.merge(Meters.restore(other.snapshot()))
    shown = [line for line in one.render({}).splitlines() if line.startswith("pointsman_breaker_state")]
    assert shown == [
        'pointsman_breaker_state{target="gpu",replica="0"} 2',
        'pointsman_breaker_state{target="gpu",replica="1"} 1',
    ]


def test_breakers_have_a_bounded_number_of_labels() -> None:
    """Beyond the cap the worst of the rest is one line."""
    meters = Meters(cap=1)
    meters.breakers([("a", 0, 0), ("b", 0, 2), ("c", 0, 1)])
    assert 'pointsman_breaker_state{target="_other",replica="_other"} 2' in meters.render({})


def test_hooks_are_counted_by_handler_step_and_result_and_add_up() -> None:
    """Over workers, and across a snapshot: counts, times, and how long the loop was held."""
    one, two = Meters(), Meters()
    for meters in (one, two):
        meters.hook("model.py", "before", "ok", 0.001)
        meters.hook("model.py", "after", "raised", 0.002)
        meters.held("model.py", 0.003)
    one.merge(Meters.restore(two.snapshot()))
    samples = page(one)
    assert samples['pointsman_handler_hooks_total{handler="model.py",step="before",result="ok"}'] == 2
    assert samples['pointsman_handler_hooks_total{handler="model.py",step="after",result="raised"}'] == 2
    assert samples['pointsman_handler_hook_seconds_sum{handler="model.py",step="after"}'] == pytest.approx(0.004)
    assert samples['pointsman_handler_loop_held_seconds_count{handler="model.py"}'] == 2


def test_failure_of_a_customers_code_counts_by_its_own_status() -> None:
    """It is the model's 4xx or 5xx, though no target was asked."""
    meters = Meters()
    for status in (422, 500):
        meters.record(outcome(status=424, error_type="ModelError", attempts=(), handler_status=status))
    samples = page(meters)
    for name in ("4xx", "5xx"):
        labels = '{endpoint="apexguru",component="",target="",kind=""}'
        assert samples[f"pointsman_invocation_{name}_errors_total{labels}"] == 1


def test_warm_ups_add_up_and_the_closest_bounds_win() -> None:
    """Over processes and through a snapshot: counts are added, a limit is known as closely as anyone knows it."""
    first, second = Meters(), Meters()
    for meters, least, most in ((first, 600.0, 1200.0), (second, 840.0, 1500.0)):
        meters.warm_ping("imported", "warm")
        meters.warm_limit("imported", "at_least", least)
        meters.warm_limit("imported", "at_most", most)
    second.warm_ping("imported", "cold")
    first.merge(Meters.restore(second.snapshot()))
    page = first.render({})
    assert 'pointsman_warm_pings_total{target="imported",met="warm"} 2' in page
    assert 'pointsman_warm_pings_total{target="imported",met="cold"} 1' in page
    assert 'pointsman_warm_idle_limit_seconds{target="imported",bound="at_least"} 840' in page
    assert 'pointsman_warm_idle_limit_seconds{target="imported",bound="at_most"} 1200' in page


def test_hedges_add_up() -> None:
    """Over processes and through a snapshot."""
    first, second = Meters(), Meters()
    for meters, result in ((first, "won"), (second, "won"), (second, "budget")):
        meters.hedge("chat", result)
    first.merge(Meters.restore(second.snapshot()))
    page = first.render({})
    assert 'pointsman_hedges_total{model="chat",result="won"} 2' in page
    assert 'pointsman_hedges_total{model="chat",result="budget"} 1' in page


def test_idle_limits_have_a_bounded_number_of_labels() -> None:
    """Beyond the cap a limit is left out, and a known one is still brought up to date."""
    meters = Meters(cap=1)
    meters.warm_limit("a", "at_least", 1.0)
    meters.warm_limit("b", "at_least", 2.0)
    meters.warm_limit("a", "at_least", 3.0)
    page = meters.render({})
    assert 'target="b"' not in page
    assert 'pointsman_warm_idle_limit_seconds{target="a",bound="at_least"} 3' in page


def test_of_a_process_that_is_gone_only_its_counts_remain() -> None:
    """What it had in flight, its breakers and its policy ended with it; its answers were given."""
    gone, left = Meters(), Meters()
    gone.record(outcome())
    gone.flight("inline").count = 3
    gone.breakers([("gpu", 0, 2)])
    gone.policy("aaaaaaaaaaaa", 7)
    gone.settle()
    left.merge(Meters.restore(gone.snapshot()))
    samples = page(left)
    assert sum(value for name, value in samples.items() if name.startswith("pointsman_responses_total")) == 1
    assert not [
        name for name in samples if name.startswith(("pointsman_concurrent", "pointsman_breaker", "pointsman_policy_i"))
    ]


def test_workers_are_told_apart_by_number_and_stay_out_of_snapshots() -> None:
    """Their owner exports them, so that no merge counts a process twice."""
    meters = Meters()
    meters.worker(0, {"up": 1.0, "restarts": 0.0})
    meters.worker(1, {"up": 0.0, "restarts": 2.0})
    samples = page(meters)
    assert samples['pointsman_worker_up{worker="0"}'] == 1
    assert samples['pointsman_worker_restarts_total{worker="1"}'] == 2
    assert not [name for name in page(Meters.restore(meters.snapshot())) if name.startswith("pointsman_worker")]


@given(st.lists(notes(), max_size=4))
@settings(max_examples=30)
def test_notes_make_the_page_that_their_outcomes_make(several: list[Note]) -> None:
    """Under every label."""
    noted, told = Meters(), Meters()
    for each in several:
        noted.record(each)
        told.record(outcome_of(each))
    assert sorted(noted.render({}).splitlines()) == sorted(told.render({}).splitlines())
