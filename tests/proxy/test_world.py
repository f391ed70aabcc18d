"""A process in another world: its time, its chance and its log are those that it was given."""

from __future__ import annotations

from pathlib import Path
from random import Random

from backends.outcome import Note, Outcome
from backends.state import open_store
from proxy.settings import Settings
from proxy.wiring import serving
from proxy.world import World

POLICY = """\
apiVersion: pointsman/v1
account: "123456789012"
targets: {engine: {kind: vllm, url: "http://127.0.0.1:9", model: m}}
endpoints: {chat: {serve_from: engine}}
"""


class Heard:
    """A request log that keeps what it is told."""

    lost = 0

    def __init__(self) -> None:
        self.outcomes: list[Outcome | Note] = []

    def write(self, outcome: Outcome | Note) -> None:
        self.outcomes.append(outcome)

    def close(self, timeout: float = 2.0) -> None:
        self.outcomes.clear()


async def test_a_process_has_the_world_that_it_is_given(tmp_path: Path) -> None:
    """Clocks, chance and log are the world's; the same chance gives the same ids."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    ids = []
    for _ in range(2):
        chance, heard = Random(1), Heard()
        world = World(lambda: 5.0, lambda: 7.0, chance.random, chance.getrandbits, open_store, heard)
        async with serving(Settings(policy=str(policy)), {}, world=world) as services:
            assert (services.now(), services.wall(), services.log) == (5.0, 7.0, heard)
            ids.append(services.new_id())
    assert ids[0] == ids[1]
