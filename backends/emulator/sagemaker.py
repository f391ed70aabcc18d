"""The SageMaker Runtime face: InvokeEndpoint and InvokeEndpointWithResponseStream as AWS answers them.

Header names, constraints, errors and frames come from botocore's service model; the texts that clients match on come
from AWS's own documentation and from issues in which they are quoted (docs/emulator.md names what is not verified).
The body's `stream: true` makes the container stream; the URL only decides whether its bytes come in event-stream
frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from .answers import Answer, Headers, Part, Received
from .aws import SAGEMAKER, errors_of, request_headers, response_header, stream_errors_of, violation
from .config import EmulatorConfig
from .container import Question, Reply
from .desk import Call
from .faults import Effects, Fault
from .roster import Turned
from .shapes import encode
from .streams import Ending, Pace, framed

UNARY, STREAM = "InvokeEndpoint", "InvokeEndpointWithResponseStream"
OPERATIONS = {
    "invocations": UNARY,
    "invocations-response-stream": STREAM,
    "async-invocations": "InvokeEndpointAsync",
    "invocations-bidirectional-stream": "InvokeEndpointWithBidirectionalStream",
}
_NO_CAPACITY = (
    "Inference Component has no capacity to process this request. ApplicationAutoScaling may be in-progress "
    "(if configured) or try to increase the capacity by invoking UpdateInferenceComponentRuntimeConfig API."
)
_COMPONENT_REQUIRED = (
    "Inference Component Name header is required for endpoints to which you plan to deploy inference components. "
    "Please include Inference Component Name header or consider using SageMaker models."
)
_COMPONENT_REFUSED = (
    "Inference Component Name header is not allowed for endpoints to which you dont plan to deploy inference "
    "components. Please remove the Inference Component Name header and try again."
)
_TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency metrics for "
    "each container in Amazon CloudWatch, resolve the issue, and try again."
)
_TOO_LARGE = "Request body is larger than the allowed size."
_ASKED = "The stand-in was asked for this."


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call as the API names its members."""

    operation: str
    endpoint: str
    members: Mapping[str, str]
    """Members that came in headers; empty headers count as absent."""


def read(received: Received, operation: str, endpoint: str) -> Invocation:
    """The members of a call. `operation` is one of the API's HTTP/1.1 operations."""
    known = request_headers(SAGEMAKER, operation)
    found = {known[name.lower()]: value for name, value in received.headers if name.lower() in known and value != ""}
    return Invocation(operation, endpoint, found)


class Sagemaker:
    """Errors, validation and answers of the service; a `desk.Wording`."""

    def __init__(self, config: EmulatorConfig) -> None:
        self._config = config
        self._names = {
            config.address(name): name for name, model in config.models.items() if model.service == SAGEMAKER
        }
        self._packed = {address[1] for address in self._names if address[0] == "component"}
        self.account = config.account
        self.unary_limit: float | None = config.limits.unary
        self.stream_limit: float | None = config.limits.stream

    def error(self, name: str, values: Mapping[str, object], status: int | None = None) -> Answer:
        """An error on the wire: typed header, JSON with the model's own field names."""
        shape = errors_of(SAGEMAKER)[name]
        kind = (("Content-Type", "application/json"), ("x-amzn-ErrorType", name))
        return Answer(status or shape.status, kind, encode(dict(values)))

    def invalid(self, message: str) -> Answer:
        """ValidationError."""
        return self.error("ValidationError", {"Message": message})

    def refused(self, invocation: Invocation, size: int) -> Answer | None:
        """What the API itself refuses before it looks for the endpoint."""
        for member, value in (("EndpointName", invocation.endpoint), *invocation.members.items()):
            said = violation(SAGEMAKER, invocation.operation, member, value)
            if said is not None:
                return self.invalid(said)
        if size > self._config.limits.sagemaker_body:
            return self.error("RequestEntityTooLargeException", {"Message": _TOO_LARGE})
        return None

    def find(self, invocation: Invocation) -> str | Answer:
        """The name of the model that a call is for, or the refusal."""
        endpoint, component = invocation.endpoint, invocation.members.get("InferenceComponentName")
        dedicated = ("endpoint", endpoint) in self._names
        if not dedicated and endpoint not in self._packed:
            return self.invalid(f"Endpoint {endpoint} of account {self._config.account} not found.")
        if dedicated == (component is not None):
            return self.invalid(_COMPONENT_REFUSED if dedicated else _COMPONENT_REQUIRED)
        name = self._names.get(("endpoint", endpoint) if component is None else ("component", endpoint, component))
        if name is None:
            return self.invalid(f"Inference Component {component} of account {self._config.account} not found.")
        variant = invocation.members.get("TargetVariant")
        if variant is not None and variant != self._config.models[name].variant:
            return self.invalid(f"Variant {variant} of endpoint {endpoint} not found.")
        return name

    def turned(self, call: Call, why: Turned) -> Answer:
        if why is Turned.FULL:
            return self.error("ThrottlingException", {"Message": "Rate exceeded"})
        if call.hosted.config.kind == "component":
            return self.invalid(_NO_CAPACITY)
        if call.stream:
            return self.error("ServiceUnavailable", {"Message": "The model is not ready."})
        return self.error(
            "ModelNotReadyException", {"Message": "Model is not ready for inference. Wait and try your request again."}
        )

    def fault(self, call: Call, fault: Fault) -> Answer:
        match fault.name:
            case "no-capacity":
                return self.invalid(fault.message or _NO_CAPACITY)
            case "unknown-endpoint":
                return self.invalid(f"Endpoint {_endpoint(call)} of account {self._config.account} not found.")
            case "model-timeout":
                return self.late(call)
            case "413":
                return self.error("RequestEntityTooLargeException", {"Message": _TOO_LARGE})
            case "ModelError":
                status = 500 if fault.original_status_code is None else fault.original_status_code
                answer = self.model_error(call, status, fault.original_message or _ASKED, fault.message)
                return answer if fault.status is None else Answer(fault.status, answer.headers, answer.body)
            case _:
                return self.error(
                    fault.name,
                    {"Message": fault.message or _DEFAULTS.get(fault.name, _ASKED)},
                    fault.status,
                )

    def late(self, call: Call) -> Answer:
        return self.model_error(call, 0, _TIMED_OUT)

    def model_error(self, call: Call, status: int, original: str, message: str | None = None) -> Answer:
        """ModelError around a container's status and body, in the wording that clients parse."""
        region, account, endpoint = self._config.region, self._config.account, _endpoint(call)
        group = f"/aws/sagemaker/Endpoints/{endpoint}"
        side = "client" if 400 <= status < 500 else "server"
        text = message or (
            f'Received {side} error ({status}) from primary with message "{original}". See https://{region}.console.aws.amazon.com'
            f"/cloudwatch/home?region={region}#logEventViewer:group={group} in account {account} for more information."
        )
        values = {
            "ErrorCode": "CLIENT_ERROR_FROM_MODEL" if side == "client" else "SERVER_ERROR_FROM_MODEL",
            "LogStreamArn": f"arn:aws:logs:{region}:{account}:log-group:{group}",
            "Message": text[:2048],
            "OriginalMessage": original,
            "OriginalStatusCode": status,
        }
        return self.error("ModelError", values)

    def ask(self, call: Call) -> Reply:
        return call.hosted.container.answer(call.question)

    def unary(self, call: Call, reply: Reply) -> Answer:
        body = b"".join(reply.chunks)
        if reply.status >= 300:
            return self.model_error(call, reply.status, body.decode("utf-8", "replace"))
        variant = (response_header(SAGEMAKER, UNARY, "InvokedProductionVariant"), call.hosted.config.variant)
        return Answer(200, (("Content-Type", reply.content_type), variant, *reply.headers.items()), body)

    def stream(
        self, call: Call, reply: Reply, effects: Effects, pace: Pace
    ) -> tuple[Headers, tuple[Part, ...], Ending] | Answer:
        if reply.status >= 300:
            return self.unary(call, reply)
        named = {
            member: response_header(SAGEMAKER, STREAM, member) for member in ("ContentType", "InvokedProductionVariant")
        }
        kept = {response_header(SAGEMAKER, STREAM, "CustomAttributes").lower()}
        headers = (
            ("Content-Type", "application/vnd.amazon.eventstream"),
            (named["ContentType"], reply.content_type),
            (named["InvokedProductionVariant"], call.hosted.config.variant),
            *(pair for pair in reply.headers.items() if pair[0].lower() in kept),
        )
        parts, ending = framed(SAGEMAKER, reply.chunks, effects, pace, _stream_values)
        return headers, parts, ending


_DEFAULTS = {
    "ModelNotReadyException": "Model is not ready for inference. Wait and try your request again.",
    "ThrottlingException": "Rate exceeded",
    "AccessDeniedException": "User is not authorized to perform: sagemaker:InvokeEndpoint",
    "ExpiredTokenException": "The security token included in the request is expired",
    "UnrecognizedClientException": "The security token included in the request is invalid.",
}


def question(received: Received, invocation: Invocation, now: float) -> Question:
    """What SageMaker hands on to the container: the body and the few headers of its contract."""
    members = invocation.members
    return Question(
        body=received.body,
        call=received.request_id.replace("-", ""),
        now=now,
        content_type=members.get("ContentType"),
        custom_attributes=members.get("CustomAttributes"),
        session=members.get("SessionId"),
    )


def _endpoint(call: Call) -> str:
    return quote(call.hosted.config.endpoint or call.hosted.name)


def _stream_values(fault: Fault) -> dict[str, object]:
    values: dict[str, object] = {"Message": fault.message or _ASKED}
    if "ErrorCode" in stream_errors_of(SAGEMAKER)[fault.name].fields:
        values["ErrorCode"] = fault.error_code or "StreamBroken"
    return values
