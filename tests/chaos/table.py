"""Every fault of the suite, and what it must come to: `python -m tests.chaos.table` prints the table of the docs."""

from __future__ import annotations

from . import broken_answers, broken_streams
from .faults import Fault

UPSTREAMS: tuple[Fault, ...] = (*broken_answers.all_of_them(), *broken_streams.STREAMS)
