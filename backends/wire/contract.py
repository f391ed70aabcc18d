"""What becomes of every header field of the runtime contract, per kind of target. docs/wire-contract.md prints it.

`tests/backends/wire/test_contract.py` holds the page against this table, and this table against what the three
backends really send and return.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Fate(enum.Enum):
    """What the proxy does with a field on its way."""

    PASSED = "passed"
    """Goes on under the same name with the same value."""
    TRANSLATED = "translated"
    """Its meaning goes on, in another form or with another value."""
    IGNORED = "ignored"
    """Does not go on, and its absence is no error. It may still have chosen the route or be in the log."""
    REFUSED = "refused"
    """The request is answered with a ValidationError."""


@dataclass(frozen=True, slots=True)
class Row:
    """One field and its fate on the way to, or from, a target of each kind."""

    name: str
    endpoint: Fate
    bedrock: Fate
    vllm: Fate

    def fate(self, kind: str) -> Fate:
        """The fate at a target of that kind: `endpoint`, `bedrock` or `vllm`."""
        return {"endpoint": self.endpoint, "bedrock": self.bedrock, "vllm": self.vllm}[kind]


_P, _T, _I, _R = Fate.PASSED, Fate.TRANSLATED, Fate.IGNORED, Fate.REFUSED

NEW_SESSION_ON_STREAM = "X-Amzn-SageMaker-Session-Id: NEW_SESSION on a stream"

REQUEST: tuple[Row, ...] = (
    Row("Content-Type", _P, _T, _P),
    Row("Accept", _P, _T, _P),
    Row("X-Amzn-SageMaker-Accept", _P, _T, _T),
    Row("X-Amzn-SageMaker-Custom-Attributes", _P, _I, _I),
    Row("X-Amzn-SageMaker-Target-Model", _P, _I, _I),
    Row("X-Amzn-SageMaker-Target-Variant", _P, _I, _I),
    Row("X-Amzn-SageMaker-Target-Container-Hostname", _P, _I, _I),
    Row("X-Amzn-SageMaker-Inference-Id", _P, _I, _I),
    Row("X-Amzn-SageMaker-Enable-Explanations", _P, _I, _I),
    Row("X-Amzn-SageMaker-Inference-Component", _T, _I, _I),
    Row("X-Amzn-SageMaker-Session-Id", _P, _I, _I),
    Row(NEW_SESSION_ON_STREAM, _R, _R, _R),
    Row("X-Amzn-SageMaker-Prefix-Aware-Id", _P, _I, _I),
    Row("Authorization", _T, _T, _I),
    Row("X-Amz-Date", _T, _T, _I),
    Row("X-Amz-Security-Token", _T, _T, _I),
    Row("X-Amz-Content-SHA256", _I, _I, _I),
    Row("amz-sdk-invocation-id", _I, _I, _I),
    Row("amz-sdk-request", _I, _I, _I),
    Row("traceparent", _T, _T, _T),
    Row("tracestate", _T, _T, _T),
    Row("x-pointsman-hop", _T, _T, _T),
    Row("User-Agent", _I, _I, _I),
    Row("X-Forwarded-For", _I, _I, _I),
    Row("any other", _I, _I, _I),
)
"""Fields of a client's request, from the client to the target."""

RESPONSE: tuple[Row, ...] = (
    Row("Content-Type", _P, _P, _P),
    Row("X-Amzn-SageMaker-Content-Type", _P, _T, _T),
    Row("X-Amzn-SageMaker-Custom-Attributes", _P, _I, _P),
    Row("x-Amzn-Invoked-Production-Variant", _P, _I, _I),
    Row("X-Amzn-SageMaker-New-Session-Id", _P, _I, _I),
    Row("X-Amzn-SageMaker-Closed-Session-Id", _P, _I, _I),
    Row("x-amzn-RequestId", _T, _T, _T),
    Row("any other", _I, _I, _I),
)
"""Fields of a successful answer, from the target to the client."""
