"""A whole policy: one report of everything, one table, one digest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from policies.errors import PolicyError
from policies.load import digest, load_policy
from policies.table import Route

from .written import HEAD, IMPORT, PATIENT, load, policy, problems, report

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*policy*.yaml"))

MANY = """\
apiVersion: pointsman/v1
account: 012345678901
defaults: {timeout: 60, stream_timeot: 8m}
targets:
  a: {kind: endpoint, endpoint: a, region: us-east-1, streams: on}
  a: {kind: endpoint, endpoint: b, region: us-east-1}
  b: {kind: bedrok}
  c: {kind: bedrock, model: arn:x, speaks: tgi, cold: {restore: 60s..5m, idle_limit: x}}
  d: {kind: vllm, url: "http://u:p@x", model: m, isolation: shared}
  e: {kind: endpoint, endpoint: e, url: "${NOPE}", region: us-east-1}
  f: {kind: endpoint, endpoint: f, region: us-east-1, isolation: shared}
  g: {kind: vllm, model: m}
endpoints:
  inline:
    serve_form: a
    data: {isolation: instance}
    fallback: [f, zz, b]
    warm: {}
  two:
    split: {a: 1, q: 2}
    owner:
    expect: [{session: 3, goes_to: a}]
  on: {serve_from: aa}
  "x_y": {serve_from: a}
"""


def test_everything_is_in_one_report() -> None:
    """YAML, schema, names, boundary and targets: one run tells all of it, and no mistake is told twice."""
    assert [(line, path) for line, path, _ in problems(MANY)] == [
        (2, "account"),
        (3, "defaults.stream_timeot"),
        (3, "defaults.timeout"),
        (5, "targets.a.streams"),
        (6, "targets.a"),
        (7, "targets.b"),
        (8, "targets.c.cold.idle_limit"),
        (8, "targets.c.model"),
        (8, "targets.c.speaks"),
        (9, "targets.d.url"),
        (10, "targets.e.url"),
        (12, "targets.g"),
        (15, "endpoints.inline.serve_form"),
        (17, "endpoints.inline.fallback[0]"),
        (17, "endpoints.inline.fallback[1]"),
        (18, "endpoints.inline.warm"),
        (20, "endpoints.two.split.q"),
        (21, "endpoints.two.owner"),
        (22, "endpoints.two.expect[0].session"),
        (23, "endpoints.on.serve_from"),
        (24, "endpoints.x_y"),
    ]


def test_report_names_the_source() -> None:
    """The text of the error can be clicked in a terminal."""
    with pytest.raises(PolicyError) as caught:
        load_policy("", {}, "s3://bucket/policy.yaml")
    assert (
        str(caught.value) == "s3://bucket/policy.yaml:1: the policy is empty; it starts with `apiVersion: pointsman/v1`"
    )


@pytest.mark.parametrize("cut", ["\n  two: [", "\n--- \n", "\n? [x]\n: y\n"])
def test_text_that_ends_early_is_told_only_so(cut: str) -> None:
    """What could not be read is not called missing."""
    found = problems(policy("x: {serve_from: nope}") + cut)
    assert [path for _, path, _ in found] == [""]


@pytest.mark.parametrize("key", ["apiVersion", "account", "targets", "endpoints"])
def test_missing_top_key_does_not_hide_the_rest(key: str) -> None:
    """A policy without its version, account, targets or endpoints is still read to its end."""
    text = policy("x: {serve_from: a, timeout: 5}", "a: {kind: vllm, model: m}")
    document = yaml.safe_load(text)
    del document[key]
    found = report(json.dumps(document))
    assert found[key] == "is required"
    assert ("targets.a" in found) == (key != "targets")
    assert ("endpoints.x.timeout" in found) == (key != "endpoints")


@pytest.mark.parametrize(
    ("endpoints", "targets", "expected"),
    [
        # A refused target is declared: what refers to it is not a second mistake, and what it is good for is unknown.
        ("x: {serve_from: a}", "a: {kind: endpoint, endpoint: a, region: us-east-1, sing: true}", ["targets.a.sing"]),
        ("x: {serve_from: a}", "a: {kind: vlm}", ["targets.a"]),
        ("x: {serve_from: a, data: {isolation: instance}}",
         "a: {kind: bedrock, model: '" + IMPORT + "', speaks: openai-chat, isolaton: instance}",
         ["targets.a.isolaton"]),
        # A block that lost its serve_from to the schema does not lack it.
        ("x: {serve_from: 3}", "a: {}", ["endpoints.x.serve_from"]),
        ("x: {components: {c: 3}}", "a: {}", ["endpoints.x.components.c"]),
        ("x: {serve_from: a, retry: {}}", "a: {}", ["endpoints.x.retry.attempts"]),
        # An expectation leans on the rest of its block.
        ("x: {split: {a: 1, b: 1}, sticky_by: cookie, expect: [{session: s, goes_to: a}]}", "a: {}\nb: {}",
         ["endpoints.x.sticky_by"]),
        # Problems of another endpoint stay.
        ("x: {serve_from: a, sticky_by: cookie}\ny: {split: {a: 1, b: 1}, expect: [{goes_to: a}]}", "a: {}\nb: {}",
         ["endpoints.x.sticky_by", "endpoints.y.expect[0]"]),
        # An item goes with its list, so that no other item is told under its number.
        ("x: {serve_from: a, expect: [{session: s}, {goes_to: q}]}", "a: {}", ["endpoints.x.expect[0].goes_to"]),
        # What YAML itself refused is not refused again by the schema.
        ("x: {serve_from: }", "a: {}", ["endpoints.x.serve_from"]),
        ("x: {serve_from: '${NOPE}'}", "a: {}", ["endpoints.x.serve_from"]),
        ("x: {serve_from: a, owner: '${NOPE}'}", "a: {}", ["endpoints.x.owner"]),
    ],
)  # fmt: skip
def test_one_mistake_is_told_once(endpoints: str, targets: str, expected: list[str]) -> None:
    """What follows from a mistake is left out of the report, what does not is in it."""
    assert [path for _, path, _ in problems(policy(endpoints, targets))] == expected


@pytest.mark.parametrize(
    "text", ["[]", "3", "policy", "{}", "targets: [1]", "targets: 3\nendpoints: {x: [1]}", "endpoints: {x: {}}"]
)
def test_text_of_another_shape(text: str) -> None:
    """What is YAML and no policy is told as such."""
    assert problems(text)


def test_environment_fills_in_values() -> None:
    """The same file serves in every environment."""
    text = policy("x: {serve_from: a, owner: '${OWNER:-nobody}'}")
    assert load(text).routes["x", None].owner == "nobody"
    assert load(text, {"OWNER": "team"}).routes["x", None].owner == "team"


def test_digest_is_of_what_the_policy_says() -> None:
    """Comments, order and spelling do not change it; a value does, wherever it comes from."""
    one = load(policy("x: {serve_from: a, owner: '${O}'}\ny: {serve_from: b}"), {"O": "team"})
    same = load(policy("# why\ny: {serve_from: b}\nx: {owner: team, serve_from: a}"))
    other = load(policy("x: {serve_from: a, owner: '${O}'}\ny: {serve_from: b}"), {"O": "others"})
    assert one.digest == same.digest != other.digest


def test_digest_is_the_documented_one() -> None:
    """Anyone can compute it: SHA-256 of canonical JSON, first twelve hex digits."""
    expected = hashlib.sha256(b'{"a":[1,"\\u00e9"],"b":true}').hexdigest()[:12]
    assert digest({"b": True, "a": [1, "é"]}) == expected


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.parent.name + "/" + path.name for path in EXAMPLES])
def test_example_policies_load(path: Path) -> None:
    """What we show works."""
    assert load_policy(path.read_text(), {}, str(path)).endpoints


# --- what holds for every text ----------------------------------------------------------------------------------------

names = st.from_regex(r"[a-zA-Z0-9](-?[a-zA-Z0-9]){0,6}", fullmatch=True)


@st.composite
def policies(draw: st.DrawFn) -> dict[str, object]:
    targets = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    block = {"kind": "endpoint", "region": "us-east-1"}
    serving = st.one_of(
        st.builds(lambda name: {"serve_from": name}, st.sampled_from(targets)),
        st.builds(
            lambda split: {"split": split},
            st.dictionaries(st.sampled_from(targets), st.integers(1, 100), min_size=1),
        ),
    )
    fallback = st.lists(st.sampled_from(targets), unique=True).map(lambda listed: {"fallback": listed})
    route = st.builds(lambda one, two: {**one, **two}, serving, fallback)
    components = st.dictionaries(names, route, min_size=1, max_size=3).map(lambda blocks: {"components": blocks})
    return {
        "apiVersion": "pointsman/v1",
        "account": "123456789012",
        "targets": {name: {**block, "endpoint": name} for name in targets},
        "endpoints": draw(st.dictionaries(names, st.one_of(route, components), min_size=1, max_size=4)),
    }


@PATIENT
@given(policies())
def test_every_endpoint_of_a_policy_is_reachable(written: dict[str, dict[str, dict[str, dict[str, object]]]]) -> None:
    """Each endpoint and component is found under its name, once, and loading twice gives the same."""
    text = json.dumps(written)
    table = load(text)
    keys = []
    for name, block in written["endpoints"].items():
        for component in block.get("components", {None: None}):
            keys.append((name, component))
            found = table.lookup(name, component)
            assert isinstance(found, Route)
            assert (found.endpoint, found.component) == (name, component)
    assert sorted(map(str, table.routes)) == sorted(map(str, keys))
    assert load(text) == table


mangled = st.builds(
    lambda text, at, length, put: text[:at] + put + text[at + length :],
    st.sampled_from([MANY, policy("x: {serve_from: a}\ny: {components: {c: {split: {a: 1, b: 2}}}}")]),
    st.integers(0, 1200),
    st.integers(0, 40),
    st.text(st.sampled_from("abc:-[]{}\"'#&*!|>%@?, \n\t0.~<${}"), max_size=8),
)
shapes = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 9)
    | st.floats()
    | st.sampled_from(["a", "x", "${X}", "60s", "endpoint"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["kind", "endpoint", "split", "data", "expect", "components", "a", "x", "retry", "cold", "fallback"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def report_of(text: str) -> PolicyError | None:
    """The report about a text; any other exception goes through and fails the test."""
    try:
        load_policy(text, {})
    except PolicyError as error:
        return error
    return None


@PATIENT
@given(st.one_of(st.text(max_size=60), mangled))
def test_any_text_is_a_policy_or_a_report(text: str) -> None:
    """No text gets through to the caller as anything but a table or a PolicyError with a place for each problem."""
    error = report_of(text)
    if error is not None:
        lines = len(text.splitlines()) + 1
        assert error.problems
        assert all(0 < problem.line <= lines for problem in error.problems)


@PATIENT
@given(
    st.dictionaries(st.sampled_from(["a", "b", "c d"]), shapes), st.dictionaries(st.sampled_from(["x", "y_"]), shapes)
)
def test_any_shape_is_a_policy_or_a_report(targets: object, endpoints: object) -> None:
    """The same for what is YAML, has the right names at the wrong places, and nests."""
    error = report_of(HEAD + yaml.safe_dump({"targets": targets, "endpoints": endpoints}))
    assert error is None or error.problems
