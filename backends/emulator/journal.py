"""The last requests seen, so that a test can say what was sent. Bounded; credentials never enter it.

Of an Authorization header the key id, scope and list of signed headers stay, the signature goes; security tokens and
cookies go. Bodies are kept as size and SHA-256, and whole only when the configuration asks for it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from .answers import Received
from .config import Keep

_SIGNATURE = re.compile(r"(Signature=)[0-9a-fA-F]+")
_SECRET = {"x-amz-security-token", "cookie", "proxy-authorization"}
_BODY_LIMIT = 1 << 20


@dataclass(slots=True)
class Seen:
    """One request; the later fields are filled in while it is answered."""

    number: int
    at: float
    """Emulated seconds since 1970."""
    request_id: str
    method: str
    target: str
    """Raw path and query."""
    headers: tuple[tuple[str, str], ...]
    size: int
    sha256: str
    body: bytes | None = None
    service: str | None = None
    operation: str | None = None
    model: str | None = None
    signature: str | None = None
    """`ok`, `off`, or the error that a wrong one means (also when it is only logged)."""
    faults: tuple[str, ...] = ()
    status: int | None = None
    """Of the answer; None while there is none, and for a connection that was cut before."""
    parts: int = 0
    """Parts of a stream that were sent."""
    finished: str | None = None
    """`answered`, `cut` by a fault, or `client gone`; None while it is being answered."""

    def header(self, name: str) -> str | None:
        """The first value of a header, in any case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def report(self) -> dict[str, Any]:
        """The request as JSON."""
        return {
            "number": self.number,
            "at": self.at,
            "request_id": self.request_id,
            "method": self.method,
            "target": self.target,
            "headers": [list(pair) for pair in self.headers],
            "size": self.size,
            "sha256": self.sha256,
            "body": None if self.body is None else base64.b64encode(self.body).decode(),
            "service": self.service,
            "operation": self.operation,
            "model": self.model,
            "signature": self.signature,
            "faults": list(self.faults),
            "status": self.status,
            "parts": self.parts,
            "finished": self.finished,
        }


@dataclass(slots=True)
class Journal:
    """The last `keep.calls` requests."""

    keep: Keep
    calls: deque[Seen] = field(init=False)

    def __post_init__(self) -> None:
        self.calls = deque(maxlen=self.keep.calls)

    def note(self, received: Received, now: float) -> Seen:
        """Write a request down; the caller fills in what becomes of it."""
        kept = self.keep.bodies and received.size <= _BODY_LIMIT
        seen = Seen(
            number=received.number,
            at=now,
            request_id=received.request_id,
            method=received.method,
            target=received.target,
            headers=tuple((name, _shown(name, value)) for name, value in received.headers),
            size=received.size,
            sha256=hashlib.sha256(received.body).hexdigest(),
            body=received.body if kept else None,
        )
        self.calls.append(seen)
        return seen


def _shown(name: str, value: str) -> str:
    lower = name.lower()
    if lower in _SECRET:
        return "(removed)"
    if lower == "authorization":
        return _SIGNATURE.sub(r"\1(removed)", value) if value.startswith("AWS4-") else "(removed)"
    return value
