"""Every cell of the contract: who asks, by which face, over which kind of hosting, in which dialect, for which other.

The cells are made from the policy's own words (the kinds of the schema and what each may `speak`, the matrix of
dialects), so that a kind or a dialect that is added there is a cell here, and fails until it is served.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from policies.dialects import DIALECTS, OPAQUE, USER_MESSAGE, Passage, passage
from policies.schema import BedrockTarget, EndpointTarget, VllmTarget

KINDS: Mapping[str, tuple[str, ...]] = {
    get_args(kind.model_fields["kind"].annotation)[0]: get_args(kind.model_fields["speaks"].annotation)
    for kind in (EndpointTarget, VllmTarget, BedrockTarget)
}
"""What a target of each kind may speak."""
FACES: Mapping[str, tuple[str, ...]] = {
    "runtime": DIALECTS,
    "container": DIALECTS,
    "openai": ("openai-chat", "openai-completions"),
}
"""What clients of each face may speak; the OpenAI face's URL says it."""
CLIENTS: Mapping[str, tuple[str, ...]] = {
    "boto3-newest": ("runtime", "container"),
    "boto3-1.43": ("runtime", "container"),
    "aiobotocore": ("runtime", "container"),
    "awscli": ("runtime", "container"),
    "openai": ("openai",),
}
"""The faces that each client can speak."""
BLOCKING_ONLY = frozenset({"awscli"})
UNKNOWN = "lmi"
"""What both sides speak where neither side declares it."""
TOKENS = 9
"""The length that every request asks for, `tests.backends.wire.dialects.vectors.LEAST`."""


@dataclass(frozen=True, order=True, slots=True)
class Way:
    """One pair of dialects over one kind of hosting."""

    kind: str
    client: str
    target: str

    @property
    def name(self) -> str:
        """The endpoint that clients name."""
        return f"{self.kind}-{self.client}-{self.target}"

    @property
    def said(self) -> str:
        """The dialect that the client's bodies are in."""
        return next((one for one in (self.client, self.target) if one != OPAQUE), UNKNOWN)

    @property
    def heard(self) -> str:
        """The dialect of the model behind the target."""
        return self.target if self.target != OPAQUE else self.said

    @property
    def endpoint(self) -> dict[str, Any]:
        """What the policy says of it, with no more of `translate` than the pair needs."""
        needs = {Passage.PROMPT_AS: {"prompt_as": USER_MESSAGE}, Passage.CHAT_TEMPLATE: {"chat_template": "chat.jinja"}}
        rule = needs.get(passage(self.client, self.target))
        said = {} if self.client == OPAQUE else {"clients_speak": self.client}
        serving = f"{self.kind}-{self.heard}" + ("-unsaid" if self.target == OPAQUE else "")
        return said | {"serve_from": serving} | ({"translate": rule} if rule else {})


@dataclass(frozen=True, order=True, slots=True)
class Cell:
    """One thing a client can do."""

    face: str
    way: Way
    streamed: bool

    def __str__(self) -> str:
        return f"{self.face}, {self.way.name}, {'streamed' if self.streamed else 'whole'}"


def ways() -> tuple[Way, ...]:
    """Every pair over every kind that may speak its target's side."""
    return tuple(
        Way(kind, client, target) for kind, spoken in KINDS.items() for target in spoken for client in DIALECTS
    )


def cells(client: str) -> Iterator[Cell]:
    """Every cell of one client."""
    for face in CLIENTS[client]:
        for way in ways():
            if way.client in FACES[face]:
                yield Cell(face, way, streamed=False)
                if client not in BLOCKING_ONLY:
                    yield Cell(face, way, streamed=True)
