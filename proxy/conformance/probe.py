"""What is asked about, and the asking: a subject that stays the same for a run, and a probe for each check."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from backends.base import Headers
from backends.wire.sigv4 import wire_host

from .wire import Exchange, NoAnswer, Origin, connected

COMPONENT = "X-Amzn-SageMaker-Inference-Component"
QUESTION = "Say hello."
TOKENS = 16
"""Tokens each question asks for at most: a run costs about 40 such answers."""

Sign = Callable[[str, str, Headers, bytes], Headers]
"""The header fields that sign a request: (method, URL, header fields, body)."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Bodies that the endpoint's model understands."""

    plain: bytes
    streaming: bytes | None
    """The same, asking the model to stream; None where the dialect is not known."""
    content_type: str
    dialect: str | None

    @property
    def to_stream(self) -> bytes:
        """What the streaming URL is asked with."""
        return self.plain if self.streaming is None else self.streaming

    @property
    def broken(self) -> bytes:
        """A body that no model of JSON dialects takes."""
        return b'{"'


def sample(dialect: str) -> Sample:
    """A short question in `dialect`. Raises KeyError when it is not one of `DIALECTS`."""
    document = DIALECTS[dialect]
    plain, streaming = (json.dumps(each).encode() for each in (document, {**document, "stream": True}))
    return Sample(plain, streaming, "application/json", dialect)


DIALECTS: dict[str, dict[str, object]] = {
    "openai-chat": {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": TOKENS},
    "openai-completions": {"prompt": QUESTION, "max_tokens": TOKENS},
    "tgi": {"inputs": QUESTION, "parameters": {"max_new_tokens": TOKENS}},
    "lmi": {"inputs": QUESTION, "parameters": {"max_new_tokens": TOKENS}},
}


@dataclass(frozen=True, slots=True)
class Subject:
    """The server and endpoint of a run."""

    origin: Origin
    endpoint: str
    component: str | None
    sample: Sample
    sign: Sign | None
    seconds: float = 60.0
    """Longest wait for one exchange."""
    heavy: bool = False
    """Bodies of megabytes may be sent."""

    def path(self, *, stream: bool = False, endpoint: str | None = None) -> str:
        """The path of an operation, percent-encoded; `endpoint` as it is to stand there."""
        name = quote(self.endpoint, safe="") if endpoint is None else endpoint
        return f"{self.origin.prefix}/endpoints/{name}/invocations{'-response-stream' if stream else ''}"


@dataclass(frozen=True, slots=True)
class Probe:
    """The asking of one check; remembers what came, as evidence."""

    subject: Subject
    shared: dict[str, Exchange] = field(default_factory=dict)
    """Answers that several checks look at, by name."""
    seen: list[Exchange] = field(default_factory=list)

    async def once(self, name: str, *, stream: bool = False, body: bytes | None = None) -> Exchange:
        """The answer called `name`, asked for now unless an earlier check has it. Raises NoAnswer."""
        if name not in self.shared:
            self.shared[name] = await self.ask(stream=stream, body=body)
        else:
            self.seen.append(self.shared[name])
        return self.shared[name]

    async def ask(
        self,
        *,
        stream: bool = False,
        body: bytes | None = None,
        path: str | None = None,
        headers: Headers = (),
        bare: bool = False,
        component: bool = True,
        method: str = "POST",
        spell: Callable[[str], str] | None = None,
    ) -> Exchange:
        """One request on a connection of its own, and its answer. Raises NoAnswer.

        `bare`: without Content-Type and Accept; `component`: with the component's header, where there is one; `spell`
        changes how header names are written.
        """
        data = self.request(
            self.subject.sample.plain if body is None else body,
            self.subject.path(stream=stream) if path is None else path,
            headers if bare else self.usual(stream, headers),
            component=component,
            method=method,
            spell=spell,
        )
        async with connected(self.subject.origin, self.subject.seconds) as connection:
            await connection.send(data)
            return self.note(await connection.read())

    def usual(self, stream: bool, more: Headers = ()) -> Headers:
        """Content-Type and Accept as SDKs send them, but for those that `more` has."""
        accept = "X-Amzn-SageMaker-Accept" if stream else "Accept"
        given = {name.lower() for name, _ in more}
        pairs = (("Content-Type", self.subject.sample.content_type), (accept, "*/*"))
        return (*(pair for pair in pairs if pair[0].lower() not in given), *more)

    def request(
        self,
        body: bytes,
        path: str,
        headers: Headers,
        *,
        component: bool = True,
        method: str = "POST",
        spell: Callable[[str], str] | None = None,
        framing: tuple[str, str] | None = None,
    ) -> bytes:
        """A whole request, signed where the subject wants it; `framing` instead of Content-Length, body left out."""
        subject = self.subject
        url = f"{subject.origin.parts.scheme}://{subject.origin.parts.netloc}{path}"
        fields = (("Host", wire_host(urlsplit(url))), *headers)
        if component and subject.component is not None:
            fields += ((COMPONENT, subject.component),)
        if subject.sign is not None:
            fields += subject.sign(method, url, fields[1:], body)
        fields += (framing or ("Content-Length", str(len(body))),)
        lines = [f"{method} {path} HTTP/1.1", *(f"{spell(name) if spell else name}: {value}" for name, value in fields)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + (b"" if framing else body)

    def note(self, exchange: Exchange) -> Exchange:
        """Keep an answer as evidence."""
        self.seen.append(exchange)
        return exchange


__all__ = ["COMPONENT", "DIALECTS", "NoAnswer", "Probe", "Sample", "Sign", "Subject", "sample"]
