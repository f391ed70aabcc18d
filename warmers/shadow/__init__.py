"""Shadow traffic: a sampled copy of requests for the target that a migration moves to, compared and never seen.

Strategy: the pipeline offers what a client has been answered; a few tasks of our own then ask the candidate the same,
and the old target once more, and compare all three (`agreement` says why three). Nothing is copied for a request that
is not sampled, and of a sampled one only references are kept: the body that was sent, the pieces that were received.

Promises: the data boundary of the route binds copies; a copy goes out only after the client's whole answer was handed
over, takes no place that a client waits for, and is dropped, and counted, as soon as there is more to do than room for
it; what is kept is bounded in requests and bytes, what is spent in dollars a day. Copies go to targets and not through
the customer's handler, whose side effects happen once: what is sent is what `before` made, what is compared is what
`after` would get. Requests of stateful sessions are never copied.
"""

from __future__ import annotations

from .copies import Copy, heard_of
from .differences import Differences, Kept, read_differences
from .plans import Shadowing, shadowing_of
from .purse import Purse
from .shadows import Difference, Parts, Shadows
from .sharing import Sharing
from .taken import Taken

__all__ = [
    "Copy",
    "Difference",
    "Differences",
    "Kept",
    "Parts",
    "Purse",
    "Shadowing",
    "Shadows",
    "Sharing",
    "Taken",
    "heard_of",
    "read_differences",
    "shadowing_of",
]
