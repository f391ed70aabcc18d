"""What a failure leaves for the garbage collector: nothing that holds a request.

The collector counts objects and not bytes, so that a circle through the frames of a failed request would keep bodies of
megabytes for as long as traffic is calm. The proxy runs in this process, with the collector switched off.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from proxy.server import running
from proxy.settings import Settings
from proxy.wiring import serving, static_credentials

from .client import STREAM, UNARY, ask, request
from .faults import policy
from .stage import upstreams_of
from .table import UPSTREAMS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300, func_only=True)]

OURS = ("/proxy/", "/backends/")
ONE_EACH = (
    "refused connection",
    "closed before the answer",
    "content-length too long",
    "body without end",
    "burst of 500",
    "stream: reset after two frames",
    "frame: wrong checksum",
    "frame: an exception of the model",
    "events: broken off",
)
"""A fault of each kind of failure."""


@contextmanager
def circles() -> Iterator[list[object]]:
    """What only the collector would have freed of what was made inside the block; filled at its end."""
    found: list[object] = []
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def test_a_failed_request_is_freed_at_once(tmp_path: Path) -> None:
    """No frame of ours that a failure came through outlives its request."""
    faults = [fault for fault in UPSTREAMS if fault.name.lower() in ONE_EACH]
    assert len(faults) == len(ONE_EACH)
    async with upstreams_of(faults) as upstreams:
        file = tmp_path / "policy.yaml"
        file.write_text(json.dumps(policy({fault: upstream.port for fault, upstream in upstreams.items()})))
        settings = Settings(policy=str(file), port=0, admin_port=0, drain=1.0, log=str(tmp_path / "log"))
        async with (
            serving(settings, {}, static_credentials("AKID", "secret")) as services,
            running(settings, services) as addresses,
        ):
            for warm in (True, False):
                with circles() as found:
                    for fault in faults:
                        sent = request(fault.slug, fault.body, STREAM if fault.stream else UNARY)
                        fault.promise.hold(await ask(addresses.port, sent))
                    await asyncio.sleep(0.05)  # connections end in later turns of the loop
                frames = [each for each in found if isinstance(each, FrameType)]
                held = {each.f_code.co_qualname for each in frames if any(o in each.f_code.co_filename for o in OURS)}
                assert warm or held == set()
