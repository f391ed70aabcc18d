"""Where a session lives: the id that a copy of a model mints carries a tag that says which copy it was.

A stateful session (`NEW_SESSION`) lives in the memory of one replica of one target, and its id is minted there, so that
no hash of the id can find it again. The id goes to the client with a tag behind it, and comes back with it; the tag is
taken off before the copy sees it. A tag is a hash of the target's name and the replica's address: it holds across
processes and reloads, tells nothing, and matches nothing once that replica is gone. An id stays inside SageMaker's
pattern `[a-zA-Z0-9](-*[a-zA-Z0-9])*` and its 256 characters; one that would not is left as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b

from .table import Route, Target, VllmSpec

LONGEST = 256
"""Characters in a session id (botocore 1.44.5, sagemaker-runtime model)."""
_TAGGED = re.compile(r"(?P<id>.*[a-zA-Z0-9])-pm(?P<tag>[0-9a-f]{12})")


@dataclass(frozen=True, slots=True)
class Home:
    """Where a session lives, and the id by which it is known there."""

    target: Target
    replica: int
    session_id: str


def marked(route: Route, target: Target, replica: int, minted: str) -> str:
    """What a client gets for the id `minted` by that replica, `; Expires=...` behind it included.

    A route with a single place needs no tag.
    """
    if sum(each.replicas for each in route.targets) < 2:
        return minted
    session_id, semicolon, expires = minted.partition(";")
    tagged = f"{session_id}-pm{_tag(target, replica)}"
    return tagged + semicolon + expires if len(tagged) <= LONGEST else minted


def home(route: Route, session_id: str | None) -> Home | None:
    """Where the session lives, by the tag of its id; None when it has none of this route's."""
    found = _TAGGED.fullmatch(session_id or "")
    if found is None:
        return None
    for target in route.targets:
        for replica in range(target.replicas):
            if _tag(target, replica) == found["tag"] and route.boundary.refusal(target) is None:
                return Home(target, replica, found["id"])
    return None


def _tag(target: Target, replica: int) -> str:
    place = target.spec.urls[replica] if isinstance(target.spec, VllmSpec) else ""
    return blake2b(f"{target.name}\0{place}".encode(), digest_size=6).hexdigest()
