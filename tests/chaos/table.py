"""Every fault of the suite, and what it must come to: `python -m tests.chaos.table` prints the table of the docs."""

from __future__ import annotations

from . import broken_answers, broken_streams
from .broken_answers import GOOD, HEALTHY, endless, saying
from .broken_streams import END, HEAD, chunks, fault
from .faults import FRAMES, Fault, Served, Streamed

UPSTREAMS: tuple[Fault, ...] = (*broken_answers.all_of_them(), *broken_streams.STREAMS)

WAITS = Fault("waits", Served(), saying())
STREAM_WAITS = fault("waits in a stream", Streamed(), saying(HEAD + chunks(FRAMES[:2])))
STREAM_FLOWS = fault(
    "streams without end", Streamed(), endless(HEAD, chunks([FRAMES[0]] * 200)), route={"stream_timeout": "500ms"}
)
SLOW = Fault("takes its time", Served(), saying(b"", GOOD, pause=0.3))
PACED = fault("streams at its pace", Streamed(), saying(HEAD, *[chunks([frame]) for frame in FRAMES], END, pause=0.15))
CONTROLS = (HEALTHY, WAITS, STREAM_WAITS, STREAM_FLOWS, SLOW, PACED)
"""Upstreams that do nothing wrong: there it is clients, or the proxy's surroundings, that misbehave."""
