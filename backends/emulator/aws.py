"""What botocore's service models say of the two runtimes: errors, statuses, header names, limits.

Nothing about AWS's shapes is typed in here a second time: error names, their HTTP status and their fields, the header
each member travels in, and the constraints that no SDK checks are read from the models that boto3 itself uses
(`sagemaker-runtime` 2017-05-13 and `bedrock-runtime` 2023-09-30). Errors that the services send without modelling
them are the short table `UNMODELLED`, from the services' lists of common errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel

SAGEMAKER, BEDROCK = "sagemaker-runtime", "bedrock-runtime"
SIGNING_NAMES = {SAGEMAKER: "sagemaker", BEDROCK: "bedrock"}

UNMODELLED: Mapping[str, Mapping[str, int]] = {
    SAGEMAKER: {
        "ThrottlingException": 429,
        "ValidationException": 400,
        "AccessDeniedException": 403,
        "ExpiredTokenException": 403,
        "IncompleteSignatureException": 403,
        "InvalidSignatureException": 403,
        "MissingAuthenticationTokenException": 403,
        "UnrecognizedClientException": 403,
        "UnknownOperationException": 404,
        "RequestEntityTooLargeException": 413,
    },
    BEDROCK: {
        "ExpiredTokenException": 403,
        "IncompleteSignatureException": 403,
        "InvalidSignatureException": 403,
        "MissingAuthenticationTokenException": 403,
        "UnrecognizedClientException": 403,
        "UnknownOperationException": 404,
        "RequestEntityTooLargeException": 413,
    },
}


@dataclass(frozen=True, slots=True)
class ErrorShape:
    """An error that a service answers with before any byte of the model's answer."""

    name: str
    status: int
    fields: tuple[str, ...]
    """Names of the JSON fields, first the one that holds the message."""


@dataclass(frozen=True, slots=True)
class StreamErrorShape:
    """An error that a service sends inside a stream; `name` is the value of `:exception-type`."""

    name: str
    fields: tuple[str, ...]


@cache
def model_of(service: str) -> Any:
    """Botocore's service model; `Any`, because botocore is untyped."""
    # Not through a session: that reads the user's profile, and fails where AWS_PROFILE names one that is not there.
    loader = Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)
    return ServiceModel(loader.load_service_model(service, "service-2"), service)


@cache
def errors_of(service: str) -> Mapping[str, ErrorShape]:
    """Every error with an HTTP status, by name: the modelled ones, then the unmodelled."""
    message = "Message" if service == SAGEMAKER else "message"
    found = {
        name: ErrorShape(name=name, status=status, fields=(message,)) for name, status in UNMODELLED[service].items()
    }
    for shape in model_of(service).error_shapes:
        status = shape.metadata.get("error", {}).get("httpStatusCode")
        if status is not None:
            found[shape.name] = ErrorShape(name=shape.name, status=status, fields=_fields(shape))
    return found


@cache
def modelled_errors(service: str) -> tuple[str, ...]:
    """Names of the errors with a status that the service model itself holds."""
    return tuple(name for name in sorted(errors_of(service)) if name not in UNMODELLED[service])


@cache
def stream_errors_of(service: str) -> Mapping[str, StreamErrorShape]:
    """Every error that can come inside the service's response stream, by its `:exception-type`."""
    members = stream_shape(service).members
    return {
        name: StreamErrorShape(name=name, fields=_fields(shape))
        for name, shape in members.items()
        if shape.metadata.get("exception")
    }


@cache
def stream_operation(service: str) -> Any:
    """The service's one operation that streams answers over HTTP/1.1."""
    name = "InvokeEndpointWithResponseStream" if service == SAGEMAKER else "InvokeModelWithResponseStream"
    return model_of(service).operation_model(name)


@cache
def stream_shape(service: str) -> Any:
    """The event-stream union of `stream_operation`."""
    return stream_operation(service).get_event_stream_output()


@cache
def request_headers(service: str, operation: str) -> Mapping[str, str]:
    """Lower-cased header name -> member, for an operation's input."""
    return _headers(model_of(service).operation_model(operation).input_shape)


@cache
def response_header(service: str, operation: str, member: str) -> str:
    """The header in which an operation's output member travels, in the model's own case."""
    shape = model_of(service).operation_model(operation).output_shape
    return str(shape.members[member].serialization["name"])


def violation(service: str, operation: str, member: str, value: str) -> str | None:
    """What is wrong with a member's value by the model's constraints, in the services' own wording, or None."""
    shape = model_of(service).operation_model(operation).input_shape.members[member]
    rules = shape.metadata
    said: str | None = None
    if rules.get("max") is not None and len(value) > rules["max"]:
        said = f"Member must have length less than or equal to {rules['max']}"
    elif rules.get("min") is not None and len(value) < rules["min"]:
        said = f"Member must have length greater than or equal to {rules['min']}"
    elif rules.get("enum") and value not in rules["enum"]:
        said = f"Member must satisfy enum value set: [{', '.join(rules['enum'])}]"
    elif rules.get("pattern") and not _pattern(rules["pattern"]).fullmatch(value):
        said = f"Member must satisfy regular expression pattern: {rules['pattern']}"
    if said is None:
        return None
    shown = "" if rules.get("sensitive") else f" '{value}'"
    place = member[0].lower() + member[1:]
    return f"1 validation error detected: Value{shown} at '{place}' failed to satisfy constraint: {said}"


@cache
def _pattern(source: str) -> re.Pattern[str]:
    # Java's classes and anchor in Python's words; `\p{Print}` stands inside a class in these models, `\p{ASCII}` alone.
    for java, python in ((r"\p{ASCII}", r"[\x00-\x7f]"), (r"\p{Print}", r"\x20-\x7e"), (r"\z", r"\Z")):
        source = source.replace(java, python)
    return re.compile(source, re.DOTALL)


def _headers(shape: Any) -> Mapping[str, str]:
    return {
        member.serialization["name"].lower(): name
        for name, member in shape.members.items()
        if member.serialization.get("location") == "header"
    }


def _fields(shape: Any) -> tuple[str, ...]:
    names = list(shape.members)
    names.sort(key=lambda name: name.lower() != "message")
    return tuple(names)
