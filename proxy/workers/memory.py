"""The memory that workers share, and that a supervisor leaves to its successor."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass

from backends import owners

from .. import replays
from .messages import Legacy


@dataclass(frozen=True, slots=True)
class Memory:
    """Descriptors; -1 where there is none."""

    replays: int = -1
    """Of signatures that were seen; there is none where nobody signs."""
    quotas: int = -1
    """Of what owners have left of their quotas."""

    @property
    def descriptors(self) -> list[int]:
        """Those that there are."""
        return [each for each in (self.replays, self.quotas) if each >= 0]


def memory_of(legacy: Legacy | None, parts: ExitStack, *, signs: bool) -> Memory:
    """A successor's goes on with what the one before knew; `parts` closes it. Raises OSError for a lack of
    descriptors."""

    def kept(descriptor: int) -> int:
        os.set_inheritable(descriptor, False)
        parts.callback(os.close, descriptor)
        return descriptor

    left = (legacy.replays, legacy.quotas) if legacy is not None else (-1, -1)
    return Memory(
        kept(left[0] if left[0] >= 0 else replays.new_memory()) if signs or left[0] >= 0 else -1,
        kept(left[1] if left[1] >= 0 else owners.new_memory()),
    )


NOTHING = Memory()
