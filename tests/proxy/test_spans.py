"""Attributes: which facts become which, and that the document knows them all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings

from backends.base import Invocation, Usage
from backends.errors import BackendError
from backends.outcome import Outcome
from policies.facts import FailureFacts, Fault
from policies.table import BedrockSpec, EndpointSpec, Spec, Target, VllmSpec
from proxy.spans import ATTRIBUTES, PROVIDERS, STEPS, Step, cause, of_answer, of_attempt, of_outcome, of_request
from tests.outcomes import attempt, outcome, outcomes

DOCUMENT = (Path(__file__).parents[2] / "docs" / "observability.md").read_text()
ARN = "arn:aws:bedrock:us-east-1:123456789012:imported-model/abc"


def target(kind: str, spec: Spec, speaks: str = "opaque", region: str | None = "us-east-1") -> Target:
    return Target("there", kind, spec, speaks=speaks, region=region)


def test_a_request_is_described_by_name_and_never_by_content() -> None:
    """Body and custom attributes don't get into a span."""
    attributes = of_request(Invocation("inline", "blockgen", True, b"secret", "r-1", custom_attributes="secret"))
    assert attributes == {
        "http.request.method": "POST",
        "http.request.body.size": 6,
        "aws.request_id": "r-1",
        "aws.sagemaker.endpoint.name": "inline",
        "aws.sagemaker.inference_component.name": "blockgen",
        "gen_ai.request.stream": True,
    }


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (
            target("endpoint", EndpointSpec("gpu"), "lmi"),
            {
                "gen_ai.operation.name": "text_completion",
                "gen_ai.provider.name": "aws.sagemaker",
                "gen_ai.request.model": "gpu",
                "aws.sagemaker.endpoint.name": "gpu",
                "server.address": "runtime.sagemaker.us-east-1.amazonaws.com",
            },
        ),
        (
            target("endpoint", EndpointSpec("gpu", "blockgen", "http://127.0.0.1:9080"), "openai-chat"),
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "aws.sagemaker",
                "gen_ai.request.model": "blockgen",
                "aws.sagemaker.endpoint.name": "gpu",
                "aws.sagemaker.inference_component.name": "blockgen",
                "server.address": "127.0.0.1",
                "server.port": 9080,
            },
        ),
        (
            target("bedrock", BedrockSpec(ARN), region="cn-north-1"),
            {
                "gen_ai.operation.name": "invoke",
                "gen_ai.provider.name": "aws.bedrock",
                "gen_ai.request.model": ARN,
                "server.address": "bedrock-runtime.cn-north-1.amazonaws.com.cn",
            },
        ),
        (
            target("vllm", VllmSpec(("http://a:8000", "http://b"), "codegen", "apex"), "openai-completions", None),
            {
                "gen_ai.operation.name": "text_completion",
                "gen_ai.provider.name": "vllm",
                "gen_ai.request.model": "apex",
                "pointsman.replica": 1,
                "server.address": "b",
            },
        ),
    ],
)
def test_an_attempt_names_the_model_and_its_host_in_the_genai_conventions(
    there: Target, expected: dict[str, object]
) -> None:
    """Provider, operation and model of each kind of hosting."""
    common = {"gen_ai.request.stream": False, "pointsman.attempt": 2, "pointsman.target": "there"}
    assert of_attempt(there, 2, streaming=False, replica=1) == common | expected


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({}, None),
        ({"ended": "refused", "error_type": "ValidationError"}, "ValidationError"),
        ({"ended": "client_gone"}, "client_gone"),
    ],
)
def test_an_error_has_a_type(changes: dict[str, str], error: str | None) -> None:
    """The AWS error type where the client got one, else how the request ended; none when all went well."""
    assert of_outcome(outcome(**changes)).get("error.type") == error


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (FailureFacts(Fault.PLATFORM, True, cold=True, throttled=True), "cold"),
        (FailureFacts(Fault.PLATFORM, True, throttled=True), "throttled"),
        (FailureFacts(Fault.MODEL, None, timed_out=True), "timeout"),
        (FailureFacts(Fault.NETWORK, None), "network"),
    ],
)
def test_a_failed_attempt_has_one_word_of_few(error: FailureFacts, word: str) -> None:
    """`error.type` is for grouping: never an exception's text."""
    there = target("endpoint", EndpointSpec("gpu"))
    assert cause(BackendError(error, there, "connect to 10.0.0.1:443: refused")) == word


def test_another_exceptions_cause_is_its_class() -> None:
    """A customer's code may put a body into its exceptions' text."""
    assert cause(ValueError("the prompt was: secret")) == "ValueError"


def test_usage_and_first_piece_are_added_at_the_end() -> None:
    """They are known only then; an answer in one piece without usage adds nothing."""
    assert of_answer(outcome()) == {}
    assert of_answer(outcome(usage=Usage(3, 4), first_chunk_seconds=0.3, attempts=(attempt(seconds=0.2),))) == {
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 4,
        "gen_ai.response.time_to_first_chunk": 0.2,
    }
    assert of_answer(outcome(first_chunk_seconds=0.3, attempts=())) == {}


@given(outcomes)
@settings(max_examples=50)
def test_every_attribute_is_in_the_table(request: Outcome) -> None:
    """Nothing is exported that the document does not explain."""
    assert set(of_outcome(request)) | set(of_answer(request)) <= set(ATTRIBUTES)


def test_what_a_cold_target_made_of_a_request() -> None:
    """One word, and none where it met no cold target."""
    assert of_outcome(outcome(cold="spill"))["pointsman.cold"] == "spill"
    assert "pointsman.cold" not in of_outcome(outcome())


def test_the_document_repeats_the_tables() -> None:
    """docs/observability.md has each step and each attribute, in order."""
    section = DOCUMENT.partition("## Spans")[2].partition("\n## ")[0]
    rows = [f"| `{name}` | {meaning} |" for table in (STEPS, ATTRIBUTES) for name, meaning in table.items()]
    assert [row for row in section.splitlines() if row.startswith("| `")] == rows
    assert set(STEPS) == set(Step)
    for provider in PROVIDERS.values():
        assert f"`{provider}`" in section


@pytest.mark.parametrize(("operation", "key"), [("Warm", "pointsman.warm"), ("Shadow", "pointsman.shadow")])
def test_what_no_client_asked_for_is_marked(operation: str, key: str) -> None:
    """Warm-ups and copies can be told from requests; nothing else has such a mark."""
    assert of_outcome(outcome(operation=operation))[key] is True
    assert not {"pointsman.warm", "pointsman.shadow"} & of_outcome(outcome()).keys()
