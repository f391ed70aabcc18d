"""An invocation as Bedrock's InvokeModel or InvokeModelWithResponseStream, as the body asks.

On SageMaker `"stream": true` in the body makes a container stream, and the operation only frames what it answers. On
Bedrock the operation decides. So the body's word picks the operation, and `stream` leaves the body with
`stream_options`, which engines refuse without `stream`; what `stream_options.include_usage` asks for is given from
Bedrock's own counts. A body that does not hold the word `"stream"` goes out byte for byte, unread, and one that ends
with it without that end.
"""

from __future__ import annotations

import re
from urllib.parse import quote

import orjson

from policies.table import BedrockSpec
from policies.values import value

from ...base import Call, Headers
from ..restjson import media_type, read_object


@value(frozen=True, slots=True)
class Asked:
    """A request, and what its body asked for before it was rewritten."""

    headers: Headers
    body: bytes
    streams: bool
    """The model is to stream; InvokeModelWithResponseStream is called."""
    include_usage: bool
    """The client wants a last event with the number of tokens (OpenAI's `stream_options`)."""


_SPACE = b" \t\r\n"
_LAST_WORD = re.compile(rb'"stream"[ \t\r\n]*:[ \t\r\n]*(true|false)[ \t\r\n]*\}[ \t\r\n]*\Z')
"""The word as the last member: with the last brace of a document, so that it is the document's own."""
_WRITTEN = {
    b', "stream": false}': False,
    b', "stream": true}': True,
    b',"stream":false}': False,
    b',"stream":true}': True,
}
"""The same behind another member, as JSON's writers write it: found without a pattern."""
_BACKSLASH = ord("\\")
"""A number, since one byte is sought ten times as fast as several."""
_NO_MEMBER = b"{, \t\r\n"
"""Before a comma no member ends with these."""
_PLAIN: Headers = (("Content-Type", "application/json"),)
"""What every request has, and most have nothing else: the same value, so that their signatures begin alike."""


def write_url(base_url: str, spec: BedrockSpec, *, streamed: bool) -> str:
    """Where the model of `spec` is called; `base_url` without a trailing slash.

    The model's ARN is percent-encoded whole, colons too, as boto3 does.
    """
    operation = "invoke-with-response-stream" if streamed else "invoke"
    return f"{base_url}/model/{quote(spec.model, safe='')}/{operation}"


def write_request(spec: BedrockSpec, call: Call) -> Asked:
    """What sends `call` to the model of `spec`.

    Content-Type is always JSON, the only type that Bedrock takes. The client's Accept goes on when Bedrock can satisfy
    it, otherwise it is dropped.
    """
    body, streams, include_usage = call.body, False, False
    at = body.rfind(b'"stream')  # from the end, where it mostly stands: half the time that `find` takes even if not
    if at >= 0:
        cut = _without_end(body, at)
        body, streams, include_usage = cut if cut is not None else _read_wish(body)
    headers = _PLAIN
    if call.accept and media_type(call.accept) in {"application/json", "*/*"}:
        headers += (("X-Amzn-Bedrock-Accept" if streams else "Accept", call.accept),)
    if spec.guardrail is not None:
        headers += (
            ("X-Amzn-Bedrock-GuardrailIdentifier", spec.guardrail),
            ("X-Amzn-Bedrock-GuardrailVersion", spec.guardrail_version or "DRAFT"),
        )
    return Asked(headers, body, streams, include_usage)


def _without_end(body: bytes, at: int) -> tuple[bytes, bool, bool] | None:
    """`_read_wish` of a body whose last member, at `at`, is its only word on streaming: all else stays as it was
    written, and nothing is parsed. None where it is not so, or where that would take parsing to know."""
    comma = at - 2 if body[at - 1 : at] == b" " else at - 1
    streams = _WRITTEN.get(body[comma:]) if comma > 0 else None
    if streams is None:
        last = _LAST_WORD.match(body, at)
        comma = body.rfind(b",", 0, at)
        if last is None or comma <= 0 or body[comma + 1 : at].strip(_SPACE):
            return None
        streams = last[1] == b"true"
    if body[comma - 1] in _NO_MEMBER or body.rfind(b'"stream', 0, at) >= 0:
        return None
    if _BACKSLASH in body and b"\\u" in body:  # a name may be spelled with escapes
        return None
    return body[:comma] + b"}", streams, False


def _read_wish(body: bytes) -> tuple[bytes, bool, bool]:
    """The body without its word on streaming; whether it wants a stream; whether it wants usage in it.

    One that is nested too deeply to be written anew goes as it is, as one that can't be read: Bedrock says what it is.
    """
    document = read_object(body) if b'"stream"' in body else None
    if document is None or "stream" not in document:
        return body, False, False
    streams: bool = document.pop("stream") == 1  # engines read JSON's true and 1 alike
    options = document.pop("stream_options", None)
    include_usage = streams and isinstance(options, dict) and options.get("include_usage") is True
    try:
        return orjson.dumps(document), streams, include_usage
    except orjson.JSONEncodeError:  # it reads 1,024 levels, and writes 254
        return body, False, False
