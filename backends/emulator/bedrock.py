"""The Bedrock Runtime face: InvokeModel and InvokeModelWithResponseStream for imported models.

A model is named by its full ARN, in any percent-encoding. The URL decides whether the answer streams (the body's
`stream` is not Bedrock's); a stream is `chunk` frames, each with one JSON object in base64, without `data:` and
without `[DONE]`, the last with `amazon-bedrock-invocationMetrics`. A model with an OpenAI dialect answers in the
format that the body has (`messages`, `prompt` with `max_tokens`, or native), one with `bedrock-completion` in its
native format alone, as imports from before 2025-11-11 do. Converse is refused as Bedrock refuses it for models
without instruct support.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import asks
from .answers import Answer, Headers, Part, Received
from .asks import AskError
from .aws import BEDROCK, errors_of, request_headers, response_header, stream_errors_of, violation
from .config import EmulatorConfig
from .container import Question, Reply
from .desk import Call
from .faults import Effects, Fault
from .roster import Turned
from .shapes import encode
from .streams import Ending, Pace, framed

UNARY, STREAM = "InvokeModel", "InvokeModelWithResponseStream"
OPERATIONS = {
    "invoke": UNARY,
    "invoke-with-response-stream": STREAM,
    "converse": "Converse",
    "converse-stream": "ConverseStream",
    "count-tokens": "CountTokens",
    "invoke-with-bidirectional-stream": "InvokeModelWithBidirectionalStream",
}
_NOT_READY = "Model is not ready for inference. Wait and try your request again."
_UNSUPPORTED = "This action doesn't support the model that you provided. Try again with a supported text or chat model."
_DEFAULTS = {
    "ModelNotReadyException": _NOT_READY,
    "ThrottlingException": "Too many requests, please wait before trying again.",
    "AccessDeniedException": "User is not authorized to perform: bedrock:InvokeModel",
    "ExpiredTokenException": "The security token included in the request is expired",
    "UnrecognizedClientException": "The security token included in the request is invalid.",
    "ModelTimeoutException": "Model has timed out in processing the request. Try your request again.",
}


def read(received: Received, operation: str) -> Mapping[str, str]:
    """The members of a call that came in headers; empty headers count as absent."""
    known = request_headers(BEDROCK, operation)
    return {known[name.lower()]: value for name, value in received.headers if name.lower() in known and value != ""}


class Bedrock:
    """Errors, validation and answers of the service; a `desk.Wording`."""

    def __init__(self, config: EmulatorConfig) -> None:
        self._config = config
        self._models = {model.arn: name for name, model in config.models.items() if model.kind == "import"}
        self.unary_limit: float | None = config.limits.bedrock
        self.stream_limit: float | None = config.limits.bedrock

    def error(self, name: str, values: Mapping[str, object], status: int | None = None) -> Answer:
        """An error on the wire: typed header, JSON with the model's own field names."""
        shape = errors_of(BEDROCK)[name]
        kind = (("Content-Type", "application/json"), ("x-amzn-ErrorType", name))
        return Answer(status or shape.status, kind, encode(dict(values)))

    def invalid(self, message: str) -> Answer:
        """ValidationException."""
        return self.error("ValidationException", {"message": message})

    def refused(self, operation: str, model: str, members: Mapping[str, str], size: int) -> Answer | None:
        """What the API itself refuses before it looks for the model."""
        if operation not in {UNARY, STREAM}:
            return self.invalid(_UNSUPPORTED)
        if violation(BEDROCK, operation, "modelId", model) is not None:
            return self.invalid("The provided model identifier is invalid.")
        for member, value in members.items():
            said = violation(BEDROCK, operation, member, value)
            if said is not None:
                return self.invalid(said)
        kind = members.get("contentType", "application/json").partition(";")[0].strip().lower()
        if kind != "application/json":
            return self.invalid(f"The provided Content Type is invalid or not supported for this model: {kind}")
        if size > self._config.limits.bedrock_body:
            most = self._config.limits.bedrock_body
            return self.invalid(
                "1 validation error detected: Value at 'body' failed to satisfy constraint: "
                f"Member must have length less than or equal to {most}"
            )
        return None

    def find(self, model: str) -> str | Answer:
        """The name of the model that a call is for, or the refusal."""
        name = self._models.get(model)
        if name is not None:
            return name
        if ":imported-model/" in model:
            return self.error("ResourceNotFoundException", {"message": f"The model {model} could not be found."})
        return self.invalid("The provided model identifier is invalid.")

    def turned(self, call: Call, why: Turned) -> Answer:
        name = "ThrottlingException" if why is Turned.FULL else "ModelNotReadyException"
        return self.error(name, {"message": _DEFAULTS[name]})

    def fault(self, call: Call, fault: Fault) -> Answer:
        if fault.name == "413":
            return self.error(
                "RequestEntityTooLargeException", {"message": fault.message or "Request body is too large."}
            )
        return self.error(fault.name, self._values(fault, errors_of(BEDROCK)[fault.name].fields, call), fault.status)

    def late(self, call: Call) -> Answer:
        return self.error("ModelTimeoutException", {"message": _DEFAULTS["ModelTimeoutException"]})

    def ask(self, call: Call) -> Reply:
        model = call.hosted.config
        native = model.dialect == "bedrock-completion"
        dialect = "bedrock-completion" if native else asks.import_shape(call.question.body)
        question = Question(body=call.question.body, call=call.question.call, now=call.question.now, dialect=dialect)
        container = call.hosted.container
        try:
            return container.stream_objects(question) if call.stream else container.whole(question)
        except AskError as error:
            return Reply(400, "application/json", (error.message.encode(),))

    def unary(self, call: Call, reply: Reply) -> Answer:
        if reply.status >= 300:
            return self.invalid(b"".join(reply.chunks).decode())
        return Answer(200, (("Content-Type", reply.content_type), *self._counts(call, reply)), b"".join(reply.chunks))

    def stream(
        self, call: Call, reply: Reply, effects: Effects, pace: Pace
    ) -> tuple[Headers, tuple[Part, ...], Ending] | Answer:
        if reply.status >= 300:
            return self.unary(call, reply)
        latency = call.hosted.config.latency
        metrics = {
            "inputTokenCount": reply.prompt_tokens,
            "outputTokenCount": reply.completion_tokens,
            "invocationLatency": round(1000 * (pace.first_byte + latency.per_token * reply.completion_tokens)),
            "firstByteLatency": round(1000 * pace.first_byte),
        }
        last: dict[str, Any] = {**reply.objects[-1], "amazon-bedrock-invocationMetrics": metrics}
        chunks = [encode(value) for value in (*reply.objects[:-1], last)]
        parts, ending = framed(BEDROCK, chunks, effects, pace, self._stream_values)
        kind = (response_header(BEDROCK, STREAM, "contentType"), "application/json")
        return (("Content-Type", "application/vnd.amazon.eventstream"), kind), parts, ending

    def _counts(self, call: Call, reply: Reply) -> Headers:
        latency = call.hosted.config.latency
        spent = round(1000 * (latency.first_byte + latency.per_token * reply.completion_tokens))
        return (
            ("X-Amzn-Bedrock-Invocation-Latency", str(spent)),
            ("X-Amzn-Bedrock-Input-Token-Count", str(reply.prompt_tokens)),
            ("X-Amzn-Bedrock-Output-Token-Count", str(reply.completion_tokens)),
        )

    def _values(self, fault: Fault, fields: tuple[str, ...], call: Call | None) -> dict[str, object]:
        values: dict[str, object] = {
            "message": fault.message or _DEFAULTS.get(fault.name, "The stand-in was asked for this.")
        }
        if "originalStatusCode" in fields:
            values["originalStatusCode"] = fault.original_status_code or 500
        if "originalMessage" in fields:
            values["originalMessage"] = fault.original_message or "The stand-in was asked for this."
        if "resourceName" in fields and call is not None:
            values["resourceName"] = call.hosted.config.arn
        return values

    def _stream_values(self, fault: Fault) -> dict[str, object]:
        return self._values(fault, stream_errors_of(BEDROCK)[fault.name].fields, None)
