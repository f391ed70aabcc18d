"""Warnings of what is valid and cannot work."""

from __future__ import annotations

import textwrap

import pytest

from policies.advice import advise

from .written import IMPORT, load, policy

IMPORTED = f'{{kind: bedrock, model: "{IMPORT}", speaks: openai-chat}}'
ENGINE = "{kind: vllm, model: m, url: 'http://127.0.0.1:8000'}"
COLD = f"{IMPORTED[:-1]}, cold: {{restore: 60s..5m}}}}"


def warned(block: str, targets: str = "a: {}\nb: {}\n") -> list[tuple[str, str]]:
    """(path, message) of the warnings about a policy with the one endpoint `x`."""
    text = policy("x:\n" + textwrap.indent(textwrap.dedent(block).strip(), "  "), targets)
    found = advise(load(text))
    assert {problem.severity for problem in found} <= {"warning"}
    return [(problem.path, problem.message) for problem in found]


def about(path: str, word: str, found: list[tuple[str, str]]) -> bool:
    return any(where == path and word in message for where, message in found)


def test_ordinary_policy_has_no_warning() -> None:
    """A policy that works as written is not talked about."""
    assert warned("split: {a: 1, b: 1}\nfallback: [b]") == []


@pytest.mark.parametrize(("kind", "written"), [("bedrock", IMPORTED), ("vllm", ENGINE)])
@pytest.mark.parametrize(
    "feature",
    ["NEW_SESSION", "TargetModel", "TargetVariant", "TargetContainerHostname", "EnableExplanations", "PrefixAwareId",
     "asynchronous", "bidirectional"],
)  # fmt: skip
def test_features_that_a_kind_loses(kind: str, written: str, feature: str) -> None:
    """Every feature of SageMaker that the kind has nothing for is named, with the endpoints it concerns."""
    found = warned("serve_from: n", f"n: {written}")
    assert about("targets.n.kind", feature, found)
    assert about("targets.n.kind", f"a {kind} target", found)
    assert about("targets.n.kind", "clients of x ", found)


@pytest.mark.parametrize(
    ("url", "warns"),
    [("http://h:8000/v1", True), ("http://h:8000/v1/chat/completions", True), ("http://v1:8000/v10", False)],
)
def test_url_as_openais_clients_have_it(url: str, warns: bool) -> None:
    """Engines are asked at /invocations, which is not under /v1: each such request would be a 404."""
    found = warned("serve_from: n", f"n: {{kind: vllm, model: m, url: '{url}'}}")
    assert about("targets.n.urls", f"asked at {url}/invocations; leave /v1 out", found) == warns


def test_unused_target() -> None:
    """A target that no route names is forgotten or mistyped; it is not warned about twice."""
    found = warned("serve_from: a", f"a: {{}}\nspare: {ENGINE}")
    assert [path for path, _ in found] == ["targets.spare"]
    assert about("targets.spare", "no endpoint uses it", found)


def test_fallback_of_itself() -> None:
    """A target is tried once, so it is no fallback of its own; of a split's others and of a candidate it is."""
    assert about("endpoints.x", "a is its own fallback", warned("serve_from: a\nfallback: [a]"))
    assert about("endpoints.x", "a is its own fallback", warned("serve_from: a\nfallback: [a, b]"))
    assert warned("split: {a: 1, b: 1}\nfallback: [a]") == []
    moving = (
        "serve_from: a\nfallback: [a]\nmigrate: {to: b, steps: [{share: 100%}], gates: {errors: at most +1 points}}"
    )
    assert not any("own fallback" in message for _, message in warned(moving))


def test_weight_of_zero() -> None:
    """A weight of 0 is told, and whether the target still has a use."""
    assert about("endpoints.x.split.b", "takes no traffic", warned("split: {a: 1, b: 0}"))
    assert about("endpoints.x.split.b", "only a fallback", warned("split: {a: 1, b: 0}\nfallback: [b]"))


def test_deadlines_beyond_sagemakers() -> None:
    """SageMaker ends an invocation after 60 s and a stream after 8 minutes, whatever the policy hopes for."""
    found = warned("serve_from: a\ntimeout: 61s\nstream_timeout: 9m", "a: {}")
    assert about("endpoints.x", "timeout is 1m1s", found)
    assert about("endpoints.x", "stream_timeout is 9m", found)
    assert warned("serve_from: a\ntimeout: 60s\nstream_timeout: 8m", "a: {}") == []


def test_deadline_beyond_sagemakers_is_fine_elsewhere() -> None:
    """One's own host, behind a url, keeps its own time; AWS's hosts behind a url do not."""
    host = "{kind: endpoint, endpoint: a, region: us-east-1, url: 'https://%s'}"
    assert warned("serve_from: a\ntimeout: 5m", f"a: {host % 'models.internal'}") == []
    regional = host % "runtime.sagemaker.us-east-1.amazonaws.com"
    assert about("endpoints.x", "timeout is 5m", warned("serve_from: a\ntimeout: 5m", f"a: {regional}"))


def test_cold_start_longer_than_the_deadline() -> None:
    """Without a fallback that is ready in time, clients see errors while the copy comes back."""
    assert about("endpoints.x", "up to 5m", warned("serve_from: c", f"c: {COLD}"))


@pytest.mark.parametrize(
    ("block", "targets"),
    [
        ("serve_from: c\nfallback: [a]", f"c: {COLD}\na: {{}}"),
        ("serve_from: c\ntimeout: 5m", f"c: {COLD}"),
        ("serve_from: a\nfallback: [c]", f"c: {COLD}\na: {{}}"),
    ],
)
def test_cold_start_that_something_covers(block: str, targets: str) -> None:
    """A warm fallback, enough time, or a cold target that is only the fallback: nothing to say."""
    assert not about("endpoints.x", "come back from zero", warned(block, targets))


def test_fallback_that_is_as_cold_covers_nothing() -> None:
    """Two cold copies in a row are still cold."""
    found = warned("serve_from: c\nfallback: [d]", f"c: {COLD}\nd: {COLD.replace('hij12', 'hij13')}")
    assert about("endpoints.x", "c takes up to 5m", found)


def test_held_requests_that_come_too_early() -> None:
    """With `hold` the fallback serves nobody while the copy comes back."""
    targets = f"c: {COLD}\na: {{}}"
    assert about("endpoints.x", "requests are held", warned("serve_from: c\nfallback: [a]\nwhen_cold: hold", targets))
    assert not about("endpoints.x", "to come back", warned("serve_from: c\nfallback: [a]\nwhen_cold: fail", targets))


@pytest.mark.parametrize(
    ("block", "targets", "named"),
    [
        ("serve_from: c", f"c: {IMPORTED}", "c"),
        ("serve_from: c", f"c: {ENGINE}", "c"),
        ("split: {a: 1, c: 1}\nfallback: [d]", "a: {}\nc: {}\nd: {}", "a, c"),
        ("split: {a: 1, c: 1, d: 1}", f"a: {IMPORTED}\nc: {COLD.replace('hij12', 'hij13')}\nd: {{}}", "a"),
    ],
)
def test_held_for_a_target_of_which_nothing_is_known(block: str, targets: str, named: str) -> None:
    """Its restore is taken to last a minute, so that a request with a minute to live is refused instead of held."""
    found = warned(f"{block}\nwhen_cold: hold", targets)
    assert about("endpoints.x", f"when_cold is hold, but {named} declares no `cold: {{restore: ...}}`", found)
    assert about("endpoints.x", "taken to last 1m or longer", found)
    assert about("endpoints.x", "(the deadline is 1m)", found)


@pytest.mark.parametrize(
    ("block", "targets"),
    [
        ("serve_from: c\nwhen_cold: hold", f"c: {COLD}"),
        ("serve_from: c\nwhen_cold: fail", f"c: {IMPORTED}"),
        ("serve_from: c\nwhen_cold: hold\ntimeout: 5m", f"c: {IMPORTED}"),
        ("split: {a: 1, c: 1}\nwhen_cold: hold", f"a: {ENGINE}\nc: {COLD}"),
    ],
)
def test_held_for_what_is_known(block: str, targets: str) -> None:
    """Declared, not held, time enough, or a target beside one that declares it: nothing to say."""
    assert not about("endpoints.x", "declares no", warned(block, targets))


def test_effective_body_limits() -> None:
    """A target that takes less than SageMaker does is told with both limits and where larger bodies go."""
    assert about("endpoints.x", "25,000,000 bytes, SageMaker's endpoints 26,214,400; larger ones are refused",
                 warned("serve_from: n", f"n: {IMPORTED}"))  # fmt: skip
    assert about(
        "endpoints.x", "larger ones go to a", warned("serve_from: n\nfallback: [a]", f"n: {IMPORTED}\na: {{}}")
    )


def test_target_that_cannot_stream() -> None:
    """The stream operation is open to every client, so a target without streams is told."""
    target = "a: {kind: endpoint, endpoint: a, region: us-east-1, streams: false}"
    assert about("endpoints.x", "a does not stream", warned("serve_from: a", target))


def test_fallback_that_is_never_reached() -> None:
    """A budget smaller than the list of targets leaves some of them out."""
    targets = "a: {}\nb: {}\nc: {}"
    found = warned("serve_from: a\nfallback: [b, c]\nretry: {attempts: 2}", targets)
    assert about("endpoints.x", "of a, b, c, in this order, c is never tried; raise it to 3", found)
    assert warned("serve_from: a\nfallback: [b, c]\nretry: {attempts: 3}", targets) == []
    assert warned("split: {a: 1, b: 1}\nfallback: [a, b]\nretry: {attempts: 2}") == []


@pytest.mark.parametrize(
    ("rest", "told"), [("", True), (', url: "http://h"', False), (", sign: false, url: https://h", False)]
)
def test_region_that_is_none_of_aws(rest: str, told: bool) -> None:
    """A region with a slip of the pen would show as a host that can't be found, at the first request."""
    found = warned("serve_from: a", f"a: {{kind: endpoint, endpoint: a, region: eu-cental-1{rest}}}")
    assert bool(about("targets.a.region", "did you mean `eu-central-1`?", found)) is told


def test_hedges_that_nobody_pays_for() -> None:
    """After the 95th percentile 5 % of the requests are slow, whatever the target: 2 % is a part of them."""
    block = "serve_from: a\nfallback: [b]\nidempotent: true\nhedge: {after: AFTER, budget: 2%}"
    learnt = block.replace("AFTER", "p95, until_known: 1s")
    assert about("endpoints.x", "give `budget: 5%`", warned(learnt))
    assert warned(learnt.replace("2%", "5%")) == warned(block.replace("AFTER", "1s")) == []


def test_sessions_on_what_keeps_no_state() -> None:
    """Stickiness chooses a target; it does not give it a session's state."""
    found = warned("serve_from: n\nsticky_by: session", f"n: {ENGINE}")
    assert about("endpoints.x", "n keeps no state", found)
    assert warned("serve_from: a\nsticky_by: session", "a: {}") == []


def test_more_imported_models_than_the_quota() -> None:
    """Bedrock's default is three imported models in an account and region; the fourth is named."""
    arns = [IMPORT.replace("hij12", f"hij1{number}") for number in range(4)]
    targets = "\n".join(
        f'n{number}: {{kind: bedrock, model: "{arn}", speaks: openai-chat}}' for number, arn in enumerate(arns)
    )
    block = "split: {n0: 1, n1: 1, n2: 1, n3: 1}"
    assert about(
        "targets.n3.model", "one of 4 imported models of account 123456789012 in us-east-1", warned(block, targets)
    )


def test_quota_counts_models_in_one_account_and_region() -> None:
    """The same model twice is one, and another region or account has a quota of its own."""
    arns = [
        IMPORT,
        IMPORT,
        IMPORT.replace("hij12", "hij13"),
        IMPORT.replace("hij12", "hij14"),
        IMPORT.replace("us-east-1", "us-west-2"),
        IMPORT.replace("123456789012", "210987654321"),
    ]
    targets = "\n".join(
        f'n{number}: {{kind: bedrock, model: "{arn}", speaks: openai-chat}}' for number, arn in enumerate(arns)
    )
    block = "split: {n0: 1, n1: 1, n2: 1, n3: 1, n4: 1, n5: 1}"
    assert not any("quota" in message for _, message in warned(block, targets))


def test_region_without_custom_model_import() -> None:
    """An ARN in a region that has no import is told, and the regions that have one are named."""
    far = IMPORTED.replace("us-east-1", "ap-south-1")
    assert about("targets.n.model", "not in ap-south-1", warned("serve_from: n", f"n: {far}"))


def test_warnings_come_in_the_order_of_the_file() -> None:
    """A reader goes through the file once."""
    text = policy("x: {serve_from: n, timeout: 2m, fallback: [a]}", f"u: {{}}\nn: {IMPORTED}\na: {{}}")
    lines = [problem.line for problem in advise(load(text))]
    assert lines == sorted(lines)
    assert len(lines) == len(set(lines)) + 1
