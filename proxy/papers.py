"""What the door's files held when they could last be used: a worker that starts while one of them is broken begins with
that, as it does with the policy in force.

A worker tells its supervisor what it has read and could use, and the supervisor tells workers that start. All of it
stays in memory and on the line between them: among it are the keys to certificates and the master secret.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

LONGEST = 16 * 1024 * 1024
"""Bytes of files told at once; longer ones are kept by nobody. A message between two processes has a limit."""


class Papers:
    """The files by what the settings call them. A process that has no supervisor keeps nothing."""

    def __init__(
        self,
        kept: Mapping[str, str] = MappingProxyType({}),
        tell: Callable[[dict[str, str]], None] | None = None,
    ) -> None:
        """`kept` is what the supervisor has heard, a character for each byte; `tell` is told what is good, likewise."""
        self._kept = kept
        self._tell = tell
        self.lent: set[str] = set()
        """Of which the process uses what was kept, in place of what is on disk."""

    @property
    def wanted(self) -> bool:
        """Whether somebody keeps them."""
        return self._tell is not None

    def last(self, *names: str) -> dict[str, bytes] | None:
        """What these files held, all of them or none; who asks is going to use it."""
        if not all(name in self._kept for name in names):
            return None
        self.lent.update(names)
        return {name: self._kept[name].encode("latin-1") for name in names}

    def good(self, **files: bytes) -> None:
        """These files can be used; what belongs together is told together."""
        self.lent.difference_update(files)
        if self._tell is not None and sum(map(len, files.values())) <= LONGEST:
            self._tell({name: held.decode("latin-1") for name, held in files.items()})


@contextmanager
def in_memory(held: bytes) -> Iterator[str]:
    """A name under which OpenSSL, which reads files alone, finds `held`; it lies on no disk. Raises OSError."""
    descriptor = os.memfd_create("pointsman-tls")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(held)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
