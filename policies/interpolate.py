"""`${VAR}` and `${VAR:-default}` in the texts of a policy.

Only values are looked at, never keys, and the result is always text: an environment cannot change the shape of a
policy. `$${` stands for a literal `${`. An empty variable counts as set for `${VAR}` and as unset for
`${VAR:-default}`, as in a shell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from .document import Document
from .errors import Path, Problem, dotted

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^{}]*))?\}|\$\{")


def interpolate(document: Document, environment: Mapping[str, str]) -> Document:
    """The same document with its references resolved; each that cannot be is a problem, and stays as written."""
    problems = list(document.problems)

    def resolve(text: str, path: Path) -> str:
        resolved, complaint = substitute(text, environment)
        if complaint is not None:
            problems.append(Problem(dotted(path), document.line(path), complaint))
        return resolved

    def walk(value: object, path: Path) -> object:
        match value:
            case str():
                return resolve(value, path)
            case dict():
                return {key: walk(child, (*path, key)) for key, child in value.items()}
            case list():
                return [walk(child, (*path, index)) for index, child in enumerate(value)]
            case _:
                return value

    return replace(document, data=walk(document.data, ()), problems=tuple(problems))


def substitute(text: str, environment: Mapping[str, str]) -> tuple[str, str | None]:
    """`text` with its references resolved, and what is wrong with the first that cannot be. Values are never quoted."""
    complaint: str | None = None

    def one(match: re.Match[str]) -> str:
        nonlocal complaint
        if match[0] == "$${":
            return "${"
        name, default = match["name"], match["default"]
        if name is None:
            complaint = (
                complaint or "has `${` that is not `${NAME}` or `${NAME:-default}`; write `$${` for a literal one"
            )
            return match[0]
        value = environment.get(name)
        if value is not None and (value or default is None):
            return value
        if default is None:
            complaint = (
                complaint
                or f"needs the environment variable {name}, which is not set; set it or write ${{{name}:-default}}"
            )
            return match[0]
        return default

    return _REFERENCE.sub(one, text), complaint
