"""The problems of one reading of a policy, collected where they are found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from .errors import Path, Problem, dotted
from .quotas import Quota
from .table import Target


@dataclass(slots=True)
class Findings:
    """Problems as they are found; `line` gives the line of a path in the document."""

    line: Callable[[Path], int]
    read_file: Callable[[str], str] | None = None
    """Gives the text of a file that the policy names, or raises OSError, or ValueError with what is wrong with it.

    None: there are no files.
    """
    problems: list[Problem] = field(default_factory=list)

    def add(self, path: Path, message: str) -> None:
        """Note one problem; reading goes on."""
        self.problems.append(Problem(dotted(path), self.line(path), message))

    def file(self, name: str, path: Path) -> str:
        """The text of a file that stands at `path`; "" with the problem noted when it cannot be had."""
        if self.read_file is None:
            self.add(path, "names a file, but this policy is read from where there are no files beside it")
            return ""
        try:
            return self.read_file(name)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            self.add(path, f"{name} cannot be read: {reason}; give a path relative to the policy, or an absolute one")
        except ValueError as error:
            self.add(path, f"{name} {error}")
        return ""


@dataclass(frozen=True, slots=True)
class Names:
    """Targets by name. Looking up one that does not exist is a problem, unless its own block was refused already."""

    targets: Mapping[str, Target]
    declared: frozenset[str]
    """All targets as written, those that the schema refused included."""
    doubtful: frozenset[str]
    """Targets of which the schema refused a part: what they are good for cannot be told."""
    findings: Findings
    quotas: Mapping[str, Quota] = field(default_factory=dict)
    """By name of owner."""

    def find(self, name: str, path: Path) -> Target | None:
        """The target, or None with the problem noted."""
        target = self.targets.get(name)
        if target is None and name not in self.declared:
            self.findings.add(path, f"no target is called `{name}`{nearest(name, tuple(sorted(self.declared)))}")
        return target


def nearest(name: str, known: tuple[str, ...]) -> str:
    """A tail for a message about an unknown name: the nearest known one, or all of them when there are few."""
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean `{close[0]}`?"
    return f"; known here: {', '.join(known)}" if 0 < len(known) <= 20 else ""
