"""YAML text to plain values, with the line and the spelling of each, under YAML 1.2's core rules.

PyYAML parses; the meaning of a scalar is decided here, because PyYAML follows YAML 1.1, where `on` is true, `12:30` is
750 and `0123` is 83. What the policy has no use for is refused with a reason rather than guessed at: duplicate keys,
anchors, merge keys, tags, empty values, a second document. A problem does not end the reading, unless no tree can be
made of what follows.

Promise: any text gives a `Document`; whatever is wrong is in its `problems`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml

from .errors import Path, Problem, dotted

MAX_DEPTH = 16
"""The schema needs eight levels; beyond this a text is an attack or an accident."""

# YAML 1.2.2, section 10.3.2 (core schema).
_NULL = re.compile(r"null|Null|NULL|~|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]{1,300}")
_OCTAL = re.compile(r"0o[0-7]{1,300}")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]{1,300}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN")
_SURROGATE = re.compile("[\ud800-\udfff]")

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a value stands and how it was written; `text` is None for a mapping or a list."""

    line: int
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """`data` holds dict, list, str, int, float, bool and None only; every key of a dict is a str."""

    data: object
    marks: Mapping[Path, Mark]
    problems: tuple[Problem, ...]
    whole: bool = True
    """False: reading stopped before the end, so that what seems missing may only not have been reached."""

    def line(self, path: Path) -> int:
        """The line of `path`, or of the nearest thing around it that exists."""
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks[path].line if path in self.marks else 1


def read_document(text: str) -> Document:
    """Parse one YAML document."""
    reading = _Reading()
    whole = False
    try:
        for event in _events(text):
            reading.take(event)
        whole = reading.documents > 0
    except _Abandoned:
        pass
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        began = error.context_mark.line + 1 if error.context_mark else line
        context = f"{error.context} that begins on line {began}," if error.context and began != line else error.context
        reason = " ".join(part for part in (context, error.problem) if part)
        reading.complain((), line, f"not valid YAML: {reason}{_remedy(text, mark)}")
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1 if isinstance(error.position, int) else 1
        reading.complain((), line, f"not valid YAML: the character U+{error.character:04X} is not allowed; delete it")
    except (ValueError, OverflowError):
        # PyYAML passes on what chr() and int() think of escapes such as "\UFFFFFFFF".
        reading.complain((), 1, "not valid YAML: a character escape is out of range")
    if reading.documents == 0 and not reading.problems:
        reading.complain((), 1, "the policy is empty; it starts with `apiVersion: pointsman/v1`")
    return Document(reading.root, reading.marks, tuple(reading.problems), whole)


def _remedy(text: str, mark: yaml.Mark | None) -> str:
    """What to write instead, for the mistakes that YAML's own words do not explain; empty for others."""
    written = text.splitlines()[mark.line] if mark is not None and mark.line < len(text.splitlines()) else ""
    if "${" in written:
        return '; inside { } or [ ] a variable stands in quotes: "${NAME}"'
    if "\t" in written[: len(written) - len(written.lstrip())]:
        return "; indent with spaces"
    if mark is not None and written[mark.column : mark.column + 1] == "\t":
        return "; write a space in place of the tab"
    if mark is not None and written[mark.column : mark.column + 1] == ":" and written.count(": ") > 1:
        return "; a value that has a colon and a space in it stands in quotes"
    return ""


def plain_scalar(text: str) -> Scalar:
    """What an unquoted scalar means in YAML 1.2."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEXADECIMAL.fullmatch(text):
        return int(text[2:], 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text


def _events(text: str) -> Iterator[yaml.Event]:
    return yaml.parse(text, Loader=yaml.SafeLoader)


class _Abandoned(Exception):
    """No tree can be made of the rest; the reason is among the problems."""


@dataclass(slots=True)
class _Open:
    """A mapping or list that has begun and not ended."""

    path: Path
    value: dict[str, object] | list[object]
    key: str | None = None
    key_line: int = 0
    ignored: bool = False
    """The entry under `key` cannot count: its value is read, for its problems, and dropped."""
    dropped: bool = False
    """This whole value is part of such an entry."""


@dataclass(slots=True)
class _Reading:
    """The tree under construction. Events arrive one by one, so that depth costs no recursion."""

    root: object = None
    documents: int = 0
    marks: dict[Path, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark is not None else 1
        match event:
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    self.abandon((), line, "a second document begins here; a policy is one document")
            case yaml.AliasEvent():
                self.refuse_as_key(line)
                self.place(line, None, f"refers to the anchor `*{event.anchor}`; write the value out in its place")
            case yaml.ScalarEvent():
                self.scalar(event, line)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self.open(event, line)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self.stack.pop()
            case _:
                pass

    def scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        plain = event.implicit[0] and event.style is None
        value = plain_scalar(event.value) if plain else event.value
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            self.begin_entry(top, event, value, line)
            return
        complaint = _decoration(event)
        if complaint is None and value is None:
            complaint = "has no value; give it one, or delete the key"
        elif isinstance(value, float) and not math.isfinite(value):
            complaint = "is not a finite number"
        elif isinstance(value, str) and _SURROGATE.search(value):
            complaint = "has a surrogate escape (`\\ud800`); write the character itself"
        self.place(line, value, complaint, event.value)

    def begin_entry(self, top: _Open, event: yaml.ScalarEvent, value: Scalar, line: int) -> None:
        key = event.value
        path = (*top.path, key)
        complaint = _decoration(event)
        if complaint is not None:
            self.complain(path, line, complaint)
        elif key == "<<" and event.style is None:
            self.complain(path, line, "merge keys (`<<`) are refused: they hide what a route says; write the keys out")
            top.ignored = True
        elif not isinstance(value, str) or _SURROGATE.search(value):
            self.complain(path, line, f'as a key is not text in YAML; quote it: "{key}"')
        elif isinstance(top.value, dict) and key in top.value:
            # What stands under a key that is a double itself has no mark: it does not count.
            first = f" (first on line {self.marks[path].line})" if path in self.marks else ""
            self.complain(path, line, f"is written twice{first}; only one of them can count: delete one")
            top.ignored = True
        if not (top.ignored or top.dropped):
            self.marks[path] = Mark(line)
        top.key, top.key_line = key, line

    def open(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent, line: int) -> None:
        self.refuse_as_key(line)
        top = self.stack[-1] if self.stack else None
        path = self.next_path()
        if len(self.stack) >= MAX_DEPTH:
            self.abandon(path, line, f"nested deeper than {MAX_DEPTH} levels")
        mapping = isinstance(event, yaml.MappingStartEvent)
        value: dict[str, object] | list[object] = {} if mapping else []
        dropped = top is not None and (top.ignored or top.dropped)
        self.place(line, value, _decoration(event))
        self.stack.append(_Open(path, value, dropped=dropped))

    def refuse_as_key(self, line: int) -> None:
        """Give up where a key is due and something else than text comes."""
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            self.abandon(top.path, line, "a key must be text, not a list, a mapping or an alias")

    def next_path(self) -> Path:
        """Where the next value goes."""
        if not self.stack:
            return ()
        top = self.stack[-1]
        if isinstance(top.value, list):
            return (*top.path, len(top.value))
        return (*top.path, top.key or "")

    def place(self, line: int, value: object, complaint: str | None, text: str | None = None) -> None:
        """Put a value where it belongs, and end the entry it belongs to."""
        path = self.next_path()
        top = self.stack[-1] if self.stack else None
        keyed = top is not None and isinstance(top.value, dict)
        line = top.key_line if top is not None and keyed else line
        if complaint is not None:
            self.complain(path, line, complaint)
        if top is None or not (top.ignored or top.dropped):
            self.marks[path] = Mark(line, text)
        if top is None:
            self.root = value
        elif isinstance(top.value, list):
            top.value.append(value)
        else:
            if not top.ignored:
                top.value[top.key or ""] = value
            top.key, top.ignored = None, False

    def complain(self, path: Path, line: int, message: str) -> None:
        self.problems.append(Problem(dotted(path), line, message))

    def abandon(self, path: Path, line: int, message: str) -> None:
        self.complain(path, line, message)
        raise _Abandoned


def _decoration(event: yaml.ScalarEvent | yaml.MappingStartEvent | yaml.SequenceStartEvent) -> str | None:
    """Why an anchor or a tag on a value is refused, if it has one."""
    if event.anchor is not None:
        return f"has an anchor (`&{event.anchor}`); anchors are refused, so that every line says what it does"
    if event.tag is not None:
        return "has a tag (`!`); tags are refused: quote a value that must be text"
    return None
