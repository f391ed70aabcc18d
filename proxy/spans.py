"""Names of spans and attributes, and which facts become which attribute. Pure; `telemetry.py` makes the spans.

Attributes follow OpenTelemetry's GenAI conventions as of semantic-conventions 1.45 (status: development) and the
`aws.sagemaker.*` keys that SageMaker's own detailed observability uses. What neither has is called `pointsman.*`.
No attribute holds a body, a credential, a custom attribute or the text of an exception from a customer's code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from backends.base import Invocation
from backends.errors import BackendError
from backends.outcome import SHADOW, WARM, Outcome
from policies.table import BedrockSpec, EndpointSpec, Target

Attributes = dict[str, str | int | float | bool]


class Step(StrEnum):
    """The pipeline's steps, each a span of kind INTERNAL under the request's."""

    LOOKUP = "lookup"
    BEFORE = "before"
    CHOOSE = "choose"
    QUEUE = "queue"
    AFTER = "after"


STEPS: Final[Mapping[Step, str]] = MappingProxyType(
    {
        Step.LOOKUP: "find the route of the endpoint and component",
        Step.BEFORE: "the customer's code ahead of the model",
        Step.CHOOSE: "look at the targets and put them in order",
        Step.QUEUE: "wait for a place at a target that is full; only where it is",
        Step.AFTER: "the customer's code behind the model; of a stream only what comes before its first event",
    }
)

ATTRIBUTES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "aws.request_id": "request: `x-amzn-RequestId`, what `pointsman why` takes",
        "aws.sagemaker.endpoint.name": "request: EndpointName as the client sent it; attempt: the target's endpoint",
        "aws.sagemaker.inference_component.name": "request and attempt: InferenceComponentName, where there is one",
        "error.type": "what failed: the AWS error type or how the request ended; attempts: cause in one word",
        "gen_ai.operation.name": "attempt: `chat`, `text_completion`, or `invoke` (ours) for opaque bodies",
        "gen_ai.provider.name": "attempt: `aws.bedrock`; ours, where none is registered: `aws.sagemaker`, `vllm`",
        "gen_ai.request.model": "attempt: the import's ARN, the adapter or model, the component or endpoint",
        "gen_ai.request.stream": "request and attempt: the client called the response-stream operation",
        "gen_ai.response.time_to_first_chunk": "attempt of a stream: seconds to the first piece",
        "gen_ai.usage.input_tokens": "attempt: prompt tokens, where the target reports usage",
        "gen_ai.usage.output_tokens": "attempt: generated tokens, where the target reports usage",
        "http.request.body.size": "request: bytes",
        "http.request.method": "request: `POST`",
        "http.response.body.size": "request: bytes",
        "http.response.status_code": "request: what the client was told; 499 when it left before",
        "pointsman.attempt": "attempt: its number",
        "pointsman.attempts": "request: how many there were",
        "pointsman.cold": "request: what a cold target made of it: `spill`, `hold` or `fail`",
        "pointsman.ended": "request: `done`, `refused`, `failed`, `client_gone`, `upstream_broken` or `deadline`",
        "pointsman.overhead": "request: seconds that this hop took, without those in queues",
        "pointsman.owner": "request: the route's owner",
        "pointsman.policy": "request: digest and generation of the policy that decided",
        "pointsman.replica": "attempt: index into the target's `urls`",
        "pointsman.shadow": "request: true for a copy of a client's request, whose answer no client sees",
        "pointsman.target": "request: target tried last; attempt: target",
        "pointsman.warm": "request: true for a warm-up, which no client has asked for",
        "pointsman.why": "request: the plan's reason, in words",
        "server.address": "attempt: host name of the target",
        "server.port": "attempt: its port, where the policy gives one",
    }
)

PROVIDERS: Final[Mapping[str, str]] = MappingProxyType(
    {"endpoint": "aws.sagemaker", "bedrock": "aws.bedrock", "vllm": "vllm"}
)
"""Kind of target -> gen_ai.provider.name."""

GIVEN_UP: Final = "given_up"
"""`error.type` of what was under way when the client left, or a hedge's other attempt answered."""
FAILED: Final = frozenset({"failed", "upstream_broken", "deadline"})
"""Ends of a request that are this side's failure. `refused` is the caller's, `client_gone` nobody's."""


def operation(streaming: bool) -> str:
    """The request span's name without the endpoint's."""
    return "InvokeEndpointWithResponseStream" if streaming else "InvokeEndpoint"


def of_request(invocation: Invocation) -> Attributes:
    """What is known of a request when it arrives."""
    attributes: Attributes = {
        "http.request.method": "POST",
        "http.request.body.size": len(invocation.body),
        "aws.request_id": invocation.request_id,
        "aws.sagemaker.endpoint.name": invocation.endpoint,
        "gen_ai.request.stream": invocation.streaming,
    }
    if invocation.component is not None:
        attributes["aws.sagemaker.inference_component.name"] = invocation.component
    return attributes


def of_outcome(outcome: Outcome) -> Attributes:
    """What is known of a request when it is over."""
    attributes: Attributes = {
        "http.response.status_code": outcome.status,
        "http.response.body.size": outcome.bytes_out,
        "pointsman.attempts": len(outcome.attempts),
        "pointsman.ended": outcome.ended,
        "pointsman.overhead": outcome.overhead_seconds,
        "pointsman.policy": outcome.policy,
        "pointsman.why": outcome.why,
    }
    if outcome.cold is not None:
        attributes["pointsman.cold"] = outcome.cold
    if outcome.operation == WARM:
        attributes["pointsman.warm"] = True
    elif outcome.operation == SHADOW:
        attributes["pointsman.shadow"] = True
    if outcome.owner is not None:
        attributes["pointsman.owner"] = outcome.owner
    if outcome.target is not None:
        attributes["pointsman.target"] = outcome.target
    if outcome.error_type is not None or outcome.ended != "done":
        attributes["error.type"] = outcome.error_type or outcome.ended
    return attributes


def of_attempt(target: Target, number: int, streaming: bool, replica: int = 0) -> Attributes:
    """What is known of an attempt before it is sent."""
    attributes: Attributes = {
        "gen_ai.operation.name": _operation_name(target.speaks),
        "gen_ai.provider.name": PROVIDERS.get(target.kind, target.kind),
        "gen_ai.request.stream": streaming,
        "pointsman.attempt": number,
        "pointsman.target": target.name,
    }
    spec = target.spec
    if isinstance(spec, EndpointSpec):
        attributes["gen_ai.request.model"] = spec.component or spec.endpoint
        attributes["aws.sagemaker.endpoint.name"] = spec.endpoint
        if spec.component is not None:
            attributes["aws.sagemaker.inference_component.name"] = spec.component
        attributes |= _server(spec.url or f"https://runtime.sagemaker.{target.region}.{_suffix(target.region)}")
    elif isinstance(spec, BedrockSpec):
        attributes["gen_ai.request.model"] = spec.model
        attributes |= _server(spec.url or f"https://bedrock-runtime.{target.region}.{_suffix(target.region)}")
    else:
        attributes["gen_ai.request.model"] = spec.adapter or spec.model
        attributes["pointsman.replica"] = replica
        attributes |= _server(spec.urls[replica])
    return attributes


def of_answer(outcome: Outcome) -> Attributes:
    """What the end of a request adds to the attempt that answered it."""
    attributes: Attributes = {}
    if outcome.usage is not None:
        attributes["gen_ai.usage.input_tokens"] = outcome.usage.prompt_tokens
        attributes["gen_ai.usage.output_tokens"] = outcome.usage.completion_tokens
    if outcome.first_chunk_seconds is not None and outcome.attempts:
        attributes["gen_ai.response.time_to_first_chunk"] = outcome.attempts[-1].seconds
    return attributes


def broken(outcome: Outcome) -> str | None:
    """`error.type` of the attempt that answered: how its stream broke. What the customer's code broke is not its."""
    ours = outcome.ended in FAILED and outcome.status == 200 and outcome.handler_status is None
    return outcome.ended if ours else None


def cause(error: BaseException) -> str:
    """`error.type` of a failed attempt or step: one word of few, never an exception's text."""
    if isinstance(error, asyncio.CancelledError):
        return GIVEN_UP
    if not isinstance(error, BackendError):
        return type(error).__name__
    facts = error.facts
    if facts.cold:
        return "cold"
    if facts.throttled:
        return "throttled"
    return "timeout" if facts.timed_out else facts.fault.value


def _operation_name(speaks: str) -> str:
    if speaks == "opaque":
        return "invoke"
    return "chat" if "chat" in speaks else "text_completion"


def _suffix(region: str | None) -> str:
    return "amazonaws.com.cn" if region is not None and region.startswith("cn-") else "amazonaws.com"


def _server(url: str) -> Attributes:
    parts = urlsplit(url)
    attributes: Attributes = {"server.address": parts.hostname or ""}
    if parts.port is not None:
        attributes["server.port"] = parts.port
    return attributes
