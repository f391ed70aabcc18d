"""Frames of an answer, for checks of what is in them."""

from __future__ import annotations

import pytest

from backends.wire.eventstream import payload_part
from proxy.conformance.checks import Skipped
from proxy.conformance.frames import frames
from proxy.conformance.wire import Exchange


def test_frames_are_read_whole() -> None:
    """Every frame comes with its payload."""
    found = frames(Exchange(200, (), payload_part(b"a") + payload_part(b"b"), True))
    assert [frame.payload for frame in found] == [b"a", b"b"]


def test_damage_leaves_nothing_to_look_at() -> None:
    """Half a frame is reported by one check, and skipped by the others."""
    with pytest.raises(Skipped, match="see stream-frames"):
        frames(Exchange(200, (), payload_part(b"a")[:-1], True))
