"""YAML text to a compiled table, or one report of everything that is wrong with it.

Four steps, each on what the one before left usable: read (`document`), interpolate, check each block (`schema`),
compile (`compiling`). A block that one step refuses is taken out for the next, so that a mistyped key does not hide a
missing target. The same text and environment give the same table and the same digest in every process.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from .compiling import compile_policy
from .complaints import Refusal, refusals
from .document import Document, read_document
from .errors import Path, PolicyError, Problem
from .interpolate import interpolate
from .schema import Policy
from .table import RouteTable

_STAND_INS: Mapping[str, object] = {
    "apiVersion": "pointsman/v1",
    "account": "000000000000",
    "targets": {},
    "endpoints": {},
}
"""What a required key is read as when it is missing or refused, so that the rest of the policy is looked at."""

_ROUNDS = 10
"""Taking out a block can leave the one around it wanting; no block is nested deeper than this."""


def load_policy(
    text: str,
    environment: Mapping[str, str],
    source: str = "policy.yaml",
    read_file: Callable[[str], str] | None = None,
) -> RouteTable:
    """The compiled policy. `source` is its name in the report.

    `read_file` gives the text of a file that the policy names, by the path as written, or raises OSError or ValueError.
    What the files hold counts in the digest.

    Raises:
        PolicyError: with every problem found, and nothing else, whatever `text` holds.
    """
    document = interpolate(read_document(text), environment)
    if not document.whole:
        raise PolicyError(document.problems, source)
    policy, refused = _usable(document)
    later = [refusal.problem for refusal in refused]
    if policy is not None:
        declared = _target_names(document.data)
        doubtful = frozenset(str(one.path[1]) for one in refused if one.path[:1] == ("targets",) and len(one.path) > 1)
        files = _Files(read_file)
        read = files.read if read_file is not None else None
        table, found = compile_policy(policy, digest(document.data), document.line, declared, doubtful, read)
        told = [*(refusal.problem.path for refusal in refused), *(problem.path for problem in document.problems)]
        later.extend(problem for problem in found if not _follows_from(problem, told))
        if not later and not document.problems:
            return replace(table, digest=digest([document.data, files.texts])) if files.texts else table
    # A value that YAML itself refuses is not complained of twice.
    known = {(problem.path, problem.line) for problem in document.problems}
    rest = (problem for problem in later if (problem.path, problem.line) not in known)
    raise PolicyError((*document.problems, *rest), source)


@dataclass(slots=True)
class _Files:
    """Files as they are read, each once."""

    source: Callable[[str], str] | None
    texts: dict[str, str] = field(default_factory=dict)

    def read(self, name: str) -> str:
        if name not in self.texts and self.source is not None:
            self.texts[name] = self.source(name)
        return self.texts[name]


def digest(data: object) -> str:
    """First 12 hex digits of the SHA-256 of the resolved policy as canonical JSON: sorted keys, no spaces, ASCII."""
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:12]


def _usable(document: Document) -> tuple[Policy | None, tuple[Refusal, ...]]:
    """The policy without what the schema refuses, and all that it refuses; no policy when nothing usable is left."""
    try:
        return Policy.model_validate(document.data), ()
    except ValidationError as error:
        first = refusals(error, document)
    data = copy.deepcopy(document.data)
    bad: Iterable[Path] = [refusal.take_out for refusal in first]
    for _ in range(_ROUNDS):
        for path in bad:
            _take_out(data, path)
        try:
            return Policy.model_validate(data), first
        except ValidationError as error:
            bad = [refusal.take_out for refusal in refusals(error, document)]
    return None, first


def _take_out(data: object, path: Path) -> None:
    """Delete what stands at `path`; an item goes with its whole list, so that no other item changes its number."""
    for depth, part in enumerate(path):
        if isinstance(data, dict) and isinstance(part, str):
            following = path[depth + 1 : depth + 2]
            if depth == 0 and not following and part in _STAND_INS:
                data[part] = copy.deepcopy(_STAND_INS[part])
            elif not following or isinstance(following[0], int):
                data.pop(part, None)
                return
            data = data.get(part)


def _target_names(data: object) -> frozenset[str]:
    targets = data.get("targets") if isinstance(data, dict) else None
    return frozenset(targets) if isinstance(targets, dict) else frozenset()


def _follows_from(problem: Problem, told: Iterable[str]) -> bool:
    """Whether a problem may be there only because something in its block was refused; `told` are the paths of that."""
    for path in told:
        if path == problem.path or path.startswith((f"{problem.path}.", f"{problem.path}[")):
            return True
        if ".expect[" in problem.path and problem.path.split(".")[:2] == path.split(".")[:2]:
            return True
    return False
