"""Dialects: what clients and models write in their bodies, carried from one to another. All pure.

A request is read into concepts (`asking`, by the tables of `keys`) and written for the target (`requests`); what has
to be remembered of it waits for the answer. Answers and streams are read into pieces (`answers`, `pieces`) and written
for the client (`replies`, `events`). What cannot be carried is refused by name, what is not of the declared dialect is
an error; nothing is guessed and nothing is lost silently. docs/dialects.md is printed from the tables.
"""

from __future__ import annotations

from .errors import write_error
from .streams import BodyTranslator
from .translation import Exchange, Translation, pair
from .values import DialectError, Stamp, Wrong

__all__ = [
    "BodyTranslator",
    "DialectError",
    "Exchange",
    "Stamp",
    "Translation",
    "Wrong",
    "pair",
    "write_error",
]
