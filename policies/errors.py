"""What is wrong with a policy, said once and in full: every problem with its place and its remedy."""

from __future__ import annotations

from dataclasses import dataclass

Path = tuple[str | int, ...]
"""Keys and indexes from the root of the policy to a value."""

ERROR = "error"
WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. `path` is dotted (`endpoints.inline.split`), empty for the whole file; `line` starts at 1."""

    path: str
    line: int
    message: str
    severity: str = ERROR

    def render(self, source: str) -> str:
        """The finding as one line of a report, in the form that editors and terminals make clickable."""
        parts = [f"{source}:{self.line}", self.path, "warning" if self.severity == WARNING else "", self.message]
        return ": ".join(part for part in parts if part)


class PolicyError(Exception):
    """A policy that is not used. `str(error)` is the whole report, one line a problem, in the order of the file."""

    def __init__(self, problems: tuple[Problem, ...], source: str = "policy.yaml") -> None:
        self.source = source
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line, problem.path, problem.message)))
        super().__init__("\n".join(problem.render(source) for problem in self.problems))


def dotted(path: Path) -> str:
    """`("endpoints", "a", "expect", 0)` as `endpoints.a.expect[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text
