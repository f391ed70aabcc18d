"""Routes: names resolved, defaults and inheritance, and what forbids a route to use a target."""

from __future__ import annotations

import pytest

from policies.limits import Bounds
from policies.quotas import Quota, Rate
from policies.table import Boundary, Expectation, HandlerSpec, Isolation, LimitRule, RetryRule, Sticky

from .written import IMPORT, load, one_route, policy, report

WEAK = "{kind: endpoint, endpoint: w, region: us-east-1, isolation: shared, accepts_data: [public]}"
FAR = "{kind: endpoint, endpoint: f, region: eu-west-1}"
CHAT = "{kind: endpoint, endpoint: c, region: us-east-1, speaks: openai-chat}"


def test_plain_route() -> None:
    """Whatever is not written has its default, and the rule that decided is known with its line."""
    route = one_route("serve_from: a")
    assert [(one.target.name, one.weight) for one in route.serve] == [("a", 1.0)]
    assert (route.timeout, route.stream_timeout, route.retry) == (60.0, 480.0, RetryRule(2))
    assert (route.clients_speak, route.shed, route.idempotent, route.sticky) == ("opaque", "normal", False, Sticky())
    assert (route.boundary, route.owner, route.wave, route.expect) == (Boundary(), None, None, ())
    assert (route.rule, route.source_line) == ("endpoints.x.serve_from", 8)


def test_route_with_everything() -> None:
    """Every key ends up in the table."""
    route = one_route("""
        owner: team
        shed: last
        wave: 3
        data: {class: secret, isolation: container, regions: [us-east-1]}
        clients_speak: lmi
        split: {a: 90, b: 10.5}
        fallback: [b, a]
        sticky_by: header:X-User
        timeout: 30s
        stream_timeout: 2m
        retry: {attempts: 5}
        idempotent: true
        expect: [{header: {X-USER: u}, session: s, inference_id: i, goes_to: a}]
    """)
    assert [(one.target.name, one.weight) for one in route.serve] == [("a", 90.0), ("b", 10.5)]
    assert [target.name for target in route.fallback] == ["b", "a"]
    assert route.boundary == Boundary("secret", Isolation.CONTAINER, frozenset({"us-east-1"}))
    assert (route.owner, route.shed, route.wave, route.clients_speak) == ("team", "last", 3, "lmi")
    assert (route.timeout, route.stream_timeout, route.retry, route.idempotent) == (30.0, 120.0, RetryRule(5), True)
    assert route.sticky == Sticky("header", "x-user")
    assert route.expect == (Expectation("a", "s", "i", (("x-user", "u"),)),)
    assert route.expect[0].source_line == 20
    assert (route.rule, route.source_line) == ("endpoints.x.split", 13)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [("serve_from: a", 2), ("serve_from: a\nfallback: [b]", 2), ("serve_from: a\nfallback: [b, c, d]", 4),
     ("serve_from: a\nfallback: [b, c, d]\nretry: {attempts: 1}", 1)],
)  # fmt: skip
def test_attempts_reach_every_fallback_unless_said_otherwise(lines: str, expected: int) -> None:
    """The budget is one attempt for each target there is, two at least, or what the policy says."""
    assert one_route(lines, "a: {}\nb: {}\nc: {}\nd: {}").retry == RetryRule(expected)


def test_defaults_hold_where_an_endpoint_says_nothing() -> None:
    """`defaults` comes between an endpoint's own word and the built-in one."""
    text = policy("x: {serve_from: a}\ny: {serve_from: a, timeout: 5s, retry: {attempts: 3}}")
    table = load(text + "defaults: {timeout: 10s, stream_timeout: 20s, retry: {attempts: 1}}\n")
    x, y = table.routes["x", None], table.routes["y", None]
    assert (x.timeout, x.stream_timeout, x.retry) == (10.0, 20.0, RetryRule(1))
    assert (y.timeout, y.stream_timeout, y.retry) == (5.0, 20.0, RetryRule(3))


def test_components_are_routes_and_take_what_they_do_not_say() -> None:
    """Each component is a route of its own; the endpoint's keys hold for those that do not give their own."""
    table = load(
        policy("""
        x:
          owner: team
          shed: first
          wave: 1
          clients_speak: openai-chat
          sticky_by: session
          timeout: 1s
          stream_timeout: 2s
          retry: {attempts: 4}
          idempotent: true
          data: {class: secret, isolation: container}
          components:
            one: {serve_from: a}
            two:
              owner: other
              shed: last
              wave: 0
              clients_speak: opaque
              sticky_by: none
              timeout: 3s
              stream_timeout: 4s
              retry: {attempts: 1}
              idempotent: false
              data: {isolation: instance, regions: [us-east-1]}
              split: {a: 1}
        """)
    )
    one, two = table.routes["x", "one"], table.routes["x", "two"]
    assert set(table.routes) == {("x", "one"), ("x", "two")}
    assert (one.owner, one.shed, one.wave, one.clients_speak) == ("team", "first", 1, "openai-chat")
    assert (one.sticky, one.timeout, one.stream_timeout) == (Sticky("session"), 1.0, 2.0)
    assert (one.retry, one.idempotent) == (RetryRule(4), True)
    assert one.boundary == Boundary("secret", Isolation.CONTAINER)
    assert (two.owner, two.shed, two.wave, two.clients_speak) == ("other", "last", 0, "opaque")
    assert (two.sticky, two.timeout, two.stream_timeout) == (Sticky(), 3.0, 4.0)
    assert (two.retry, two.idempotent) == (RetryRule(1), False)
    assert two.boundary == Boundary("secret", Isolation.INSTANCE, frozenset({"us-east-1"}))
    assert (one.rule, two.rule) == ("endpoints.x.components.one.serve_from", "endpoints.x.components.two.split")


@pytest.mark.parametrize(
    ("outer", "inner", "where"),
    [
        ("isolation: container", "isolation: shared", "isolation"),
        ("regions: [us-east-1]", "regions: [us-east-1, eu-west-1]", "regions"),
        ("class: secret", "class: public", "class"),
    ],
)
def test_component_may_not_widen_the_boundary(outer: str, inner: str, where: str) -> None:
    """What the endpoint forbids, none of its components allows."""
    found = report(policy(f"x: {{data: {{{outer}}}, components: {{c: {{serve_from: a, data: {{{inner}}}}}}}}}"))
    assert list(found) == [f"endpoints.x.components.c.data.{where}"]


def test_component_may_narrow_or_repeat_the_boundary() -> None:
    """Less is always allowed, and so is the same."""
    outer = "{class: secret, isolation: container, regions: [us-east-1, eu-west-1]}"
    for inner in ("{class: secret, isolation: instance, regions: [us-east-1]}", outer, "{}"):
        assert report(policy(f"x: {{data: {outer}, components: {{c: {{serve_from: a, data: {inner}}}}}}}")) == {}


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("{class: secret}", Boundary("secret", Isolation.CONTAINER, frozenset({"us-east-1", "eu-west-1"}))),
        ("{isolation: instance}", Boundary("secret", Isolation.INSTANCE, frozenset({"us-east-1", "eu-west-1"}))),
        ("{regions: [us-east-1]}", Boundary("secret", Isolation.CONTAINER, frozenset({"us-east-1"}))),
    ],
)
def test_component_that_narrows_one_side_keeps_the_others(inner: str, expected: Boundary) -> None:
    """A key of `data` that a component leaves out is its endpoint's, not the weakest there is."""
    outer = "{class: secret, isolation: container, regions: [us-east-1, eu-west-1]}"
    table = load(policy(f"x: {{data: {outer}, components: {{c: {{serve_from: a, data: {inner}}}}}}}"))
    assert table.routes["x", "c"].boundary == expected


def test_component_may_set_a_boundary_where_the_endpoint_has_none() -> None:
    """The narrowest boundary there is counts."""
    table = load(policy("x: {components: {c: {serve_from: a, data: {class: secret, isolation: instance}}}}"))
    assert table.routes["x", "c"].boundary == Boundary("secret", Isolation.INSTANCE)


@pytest.mark.parametrize(
    ("block", "path", "word"),
    [
        ("owner: me", "", "give serve_from, split or"),
        ("serve_from: a\nsplit: {b: 1}", ".split", "beside serve_from"),
        ("split: {a: 0, b: 0}", ".split", "only weights of 0"),
        ("serve_from: aa", ".serve_from", "no target is called `aa`; did you mean `a`?"),
        ("split: {a: 1, q: 1}", ".split.q", "no target is called `q`"),
        ("serve_from: a\nfallback: [b, q]", ".fallback[1]", "no target is called `q`"),
        ("serve_from: a\nfallback: [b, b]", ".fallback[1]", "listed twice"),
        ("serve_from: a\nlast_resort: q", ".last_resort", "no target is called `q`"),
        ("serve_from: a\nlast_resort: weak\ndata: {class: secret}", ".last_resort", "classes of data are public"),
        ("serve_from: a\nexpect: [{goes_to: q}]", ".expect[0].goes_to", "no target is called `q`"),
        ("serve_from: far\ndata: {regions: [us-east-1]}", ".serve_from", "region is eu-west-1"),
        ("split: {a: 1, weak: 0}\ndata: {isolation: container}", ".split.weak", "isolation is shared"),
        ("serve_from: a\nfallback: [weak]\ndata: {class: secret}", ".fallback[0]", "classes of data are public"),
        ("serve_from: chat\nclients_speak: tgi", ".serve_from", "say `translate: {prompt_as: user-message}`"),
        ("serve_from: a\nfallback: [chat]\nclients_speak: lmi", ".fallback[0]", "a prompt of lmi becomes a chat only"),
        ("split: {a: 1, b: 1}\nexpect: [{session: s, goes_to: a}]", ".expect[0]", "without sticky_by"),
        ("split: {a: 1, b: 1}\nsticky_by: inference-id\nexpect: [{goes_to: a}]", ".expect[0]", "add inference_id"),
        ("split: {a: 1, b: 1}\nsticky_by: header:x\nexpect: [{goes_to: a}]", ".expect[0]", "add header {x: ...}"),
    ],
)  # fmt: skip
def test_route_that_cannot_be(block: str, path: str, word: str) -> None:
    """Each mistake is one problem, at the reference that is wrong."""
    text = policy("x:\n  " + block.replace("\n", "\n  "), f"a: {{}}\nb: {{}}\nweak: {WEAK}\nfar: {FAR}\nchat: {CHAT}")
    found = report(text)
    assert list(found) == [f"endpoints.x{path}"]
    assert word in found[f"endpoints.x{path}"]


@pytest.mark.parametrize("key", ["serve_from: a", "split: {a: 1}", "fallback: [a]", "expect: [{goes_to: a}]"])
def test_endpoint_with_components_serves_nothing_itself(key: str) -> None:
    """A request without a component is refused there, so these keys would never be read."""
    found = report(policy(f"x: {{{key}, components: {{c: {{serve_from: a}}}}}}"))
    assert list(found) == [f"endpoints.x.{key.partition(':')[0]}"]


@pytest.mark.parametrize(
    ("clients", "target"), [("opaque", "openai-chat"), ("openai-chat", "opaque"), ("lmi", "lmi"), ("tgi", "opaque")]
)
def test_dialects_that_go_together(clients: str, target: str) -> None:
    """The same dialect, or bodies that nobody looks at."""
    written = f"t: {{kind: endpoint, endpoint: t, region: us-east-1, speaks: {target}}}"
    assert report(policy(f"x: {{serve_from: t, clients_speak: {clients}}}", written)) == {}


def test_opaque_clients_reach_an_import() -> None:
    """A route may leave its bodies alone although the target's format is declared."""
    written = f"t: {{kind: bedrock, model: '{IMPORT}', speaks: bedrock-completion}}"
    assert report(policy("x: {serve_from: t}", written)) == {}


def test_expectation_of_one_choice_needs_no_key() -> None:
    """Where there is one target with a weight, every request goes there."""
    assert len(one_route("split: {a: 1, b: 0}\nexpect: [{goes_to: a}]").expect) == 1


def test_target_of_which_a_part_was_refused_is_not_judged() -> None:
    """Whether it lies inside the boundary depends on what it was meant to say."""
    text = policy("x: {serve_from: t, data: {isolation: instance}}", f"t: {WEAK[:-1]}, isolaton: instance}}")
    assert list(report(text)) == ["targets.t.isolaton"]


@pytest.mark.parametrize("key", ["targets", "endpoints"])
def test_policy_without_targets_or_endpoints(key: str) -> None:
    """A policy that can serve nothing is not one."""
    text = policy("x: {serve_from: a}") if key == "endpoints" else policy("x: {components: {}}")
    emptied = text.partition(f"{key}:\n")[0] + f"{key}: {{}}\n"
    if key == "targets":
        emptied += "endpoints: {x: {serve_from: a}}\n"
    assert key in report(emptied)


def test_handler_and_its_defaults() -> None:
    """A handler runs in two processes for at most 5 seconds a hook unless the policy says otherwise."""
    plain = one_route("serve_from: a\nhandler: {path: model.py}").handler
    assert plain == HandlerSpec("model.py", "process", 5.0, 2, 2, 1024**3)
    written = "{path: /opt/m.py, run: thread, timeout: 500ms, workers: 4, fail_after: 3, memory: 64MiB}"
    full = one_route(f"serve_from: a\nhandler: {written}").handler
    assert full == HandlerSpec("/opt/m.py", "thread", 0.5, 4, 3, 64 * 1024**2)
    assert full is not None
    assert full.source_line > 0


def test_component_takes_its_endpoints_handler() -> None:
    """A handler on an endpoint is that of its components, but for the one that has its own."""
    components = "{p: {serve_from: a}, q: {serve_from: a, handler: {path: q.py}}}"
    table = load(policy(f"x: {{handler: {{path: m.py}}, components: {components}}}"))
    found = {key[1]: route.handler for key, route in table.routes.items()}
    assert [found[name].path for name in ("p", "q")] == ["m.py", "q.py"]  # type: ignore[union-attr]  # None fails here


def test_threads_to_lose_are_those_that_exist() -> None:
    """`fail_after` beyond the number of threads is refused; where it was not written it is that number."""
    bad = report(policy("x: {serve_from: a, handler: {path: m, run: thread, workers: 1, fail_after: 2}}"))
    assert list(bad) == ["endpoints.x.handler.fail_after"]
    route = one_route("serve_from: a\nhandler: {path: m, run: thread, workers: 1}")
    assert route.handler is not None
    assert route.handler.fail_after == 1


def test_last_resort_is_the_target_that_is_named() -> None:
    """It stands beside the others and is none of them."""
    route = one_route("serve_from: a\nlast_resort: b")
    assert route.last_resort is not None
    assert (route.last_resort.name, route.fallback) == ("b", ())


def test_limits_and_quotas_are_read() -> None:
    """A target's limit and its owner's quota stand where the request's path finds them."""
    text = policy("x: {serve_from: a, owner: us}", "a: {kind: endpoint, endpoint: a, region: us-east-1, LIMIT}")
    text = text.replace("LIMIT", "limit: {min: 2, max: 8, queue: 3, queue_bytes: 1MB, wait: 2s}")
    route = load(text + "owners: {us: {requests: 50/s, tokens: 100k/min}}\n").routes["x", None]
    assert route.serve[0].target.limit == LimitRule(Bounds(2, 8), 3, 1_000_000, 2.0)
    assert route.quota == Quota("us", Rate(50.0, 1.0), Rate(100_000.0, 60.0))


def test_limits_and_quotas_that_bind_nobody_are_refused() -> None:
    """A quota without an endpoint and a least above the most are mistakes."""
    text = policy("x: {serve_from: a}", "a: {kind: endpoint, endpoint: a, region: us-east-1, limit: {min: 9, max: 8}}")
    found = report(text + "owners: {us: {requests: 50/s}}\n")
    assert found == {
        "owners.us": "is the owner of no endpoint; name it in one, or delete it",
        "targets.a.limit.min": "is more than max (8)",
    }


def test_sticky_by_a_prefix() -> None:
    """The number of bytes is read, and a case for it is refused, since cases have no body."""
    assert one_route("serve_from: a\nsticky_by: prefix:1024").sticky == Sticky("prefix", prefix=1024)
    text = policy("x: {split: {a: 1, b: 1}, sticky_by: prefix:9, expect: [{session: s, goes_to: a}]}")
    assert "prefix of the body" in report(text)["endpoints.x.expect[0]"]
    assert "prefix:<bytes>" in report(policy("x: {serve_from: a, sticky_by: prefix:0}"))["endpoints.x.sticky_by"]
