"""Event-stream frames of an answer, for checks that look at what is in them."""

from __future__ import annotations

from backends.wire.eventstream import Decoder, EventStreamError, Frame

from .checks import Skipped
from .wire import Exchange


def decoded(exchange: Exchange) -> list[Frame]:
    """Every frame, checksums verified, and nothing left over. Raises EventStreamError."""
    decoder = Decoder()
    found = decoder.feed(exchange.body)
    decoder.finish()
    return found


def frames(exchange: Exchange) -> list[Frame]:
    """The same for checks of other things. Raises Skipped when there are none to look at."""
    try:
        return decoded(exchange)
    except EventStreamError as error:
        message = "the frames can't be read; see stream-frames"
        raise Skipped(message) from error
