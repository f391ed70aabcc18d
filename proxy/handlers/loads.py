"""Loading a handler where its spec says: the one place that chooses between the three ways to run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from backends.meters import Meters
from policies.table import HandlerSpec

from .errors import LoadError
from .inline import load_inline
from .runs import Run


class Loader:
    """Loads handlers."""

    def __init__(self, meters: Meters, now: Callable[[], float]) -> None:
        self._meters = meters
        self._now = now

    async def load(self, spec: HandlerSpec, file: Path, version: str) -> Run:
        """The handler in `file`. Raises LoadError."""
        if not file.is_file():  # noqa: ASYNC240 - one look, at load
            message = f"{file} is not there; name the customer's model.py, from the policy's own folder"
            raise LoadError(message)
        return await load_inline(file, version, self._now, lambda held: self._meters.held(spec.path, held))
