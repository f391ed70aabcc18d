"""A policy with a migration and a state in a file, for tests of the commands to a fleet."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from backends.state import open_store
from policies.load import load_policy
from policies.migrating import Migration
from policies.migration_state import Command, Verb
from proxy.cli import main
from warmers.migrations.ledger import Ledger
from warmers.migrations.orders import order

T = TypeVar("T")

POLICY = """\
apiVersion: pointsman/v1
account: "123456789012"
targets:
  gpu: {kind: endpoint, endpoint: gpu, region: us-east-1}
  import: {kind: endpoint, endpoint: import, region: us-east-1}
endpoints:
  plain: {serve_from: gpu}
  apexguru:
    owner: apexguru-team
    serve_from: gpu
    migrate:
      to: import
      steps: [{share: 10%, hold: 1h}, {share: 50%, hold: 1h, approve: owner}, {share: 100%}]
      gates: {errors: at most +1 points}
      false_alarms: 1%
      keep: {gpu: {can_take: 100%, until: 14d after 100%}}
"""


class Commanding:
    """A laptop with the policy and the address of the state."""

    def __init__(self, folder: Path, *, looked: bool = True) -> None:
        """`looked`: a proxy has been there before."""
        self.policy = folder / "policy.yaml"
        self.policy.write_text(POLICY)
        self.database = folder / "state.db"
        self.address = f"sqlite:///{self.database}"
        if looked:
            self.publish()

    def __call__(self, *words: str) -> int:
        """The exit code of `pointsman` with these words."""
        return main([*words, "--policy", str(self.policy), "--state", self.address])

    def publish(self, *plans: Migration) -> None:
        """Leave plans as the controller does; a loop may be running here."""

        async def whole() -> None:
            store = open_store(self.address)
            try:
                await Ledger(store).publish(plans, 1)
            finally:
                await store.aclose()

        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, whole()).result()

    @property
    def plan(self) -> Migration:
        """The migration as the policy file has it now."""
        return load_policy(self.policy.read_text(), {}, "policy.yaml").migrations["apexguru"]

    async def order(self, verb: Verb, until: float | None = None) -> None:
        """Give a command from inside a loop."""
        store = open_store(self.address)
        try:
            command = Command(uuid.uuid4().hex, verb, "because", "ann", time.time(), until)
            await order(Ledger(store), self.plan, command, command.at)
        finally:
            await store.aclose()

    def kept(self, work: Callable[[Ledger], Awaitable[T]]) -> T:
        """What `work` finds in the shared state."""

        async def whole() -> T:
            store = open_store(self.address)
            try:
                return await work(Ledger(store))
            finally:
                await store.aclose()

        return asyncio.run(whole())
