"""Rehearsals for tests: a policy with an import that goes cold, one with a migration, and how to play them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from backends.emulator.config import EmulatorConfig
from proxy.rehearsal.loop import VirtualLoop
from proxy.rehearsal.replay import Play, Played, play
from proxy.rehearsal.standins import pointed
from proxy.rehearsal.tally import Tally
from warmers.arrivals import gather

START = 1_783_296_000.0
"""2026-07-06, a Monday."""
COLD = """\
apiVersion: pointsman/v1
account: "123456789012"
targets:
  gpu: {kind: endpoint, endpoint: gpu, region: us-east-1, speaks: openai-chat, cost: {instance: ml.g6e.xlarge}}
  import:
    kind: bedrock
    model: arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefghij12
    speaks: openai-chat
    cold: {restore: 30s..90s, idle_limit: 15m}
    cost: {units: 2}
endpoints:
  chat: {clients_speak: openai-chat, serve_from: import, fallback: [gpu]}
"""
MOVING = """\
apiVersion: pointsman/v1
account: "123456789012"
targets:
  old: {kind: endpoint, endpoint: old, region: us-east-1, speaks: openai-chat}
  new: {kind: endpoint, endpoint: new, region: us-east-1, speaks: openai-chat}
endpoints:
  chat:
    owner: team
    clients_speak: openai-chat
    serve_from: old
    sticky_by: session
    migrate:
      to: new
      steps: [{share: 25%, hold: 1h}, {share: 50%, hold: 1h, approve: owner}, {share: 100%}]
      gates: {errors: at most +30 points}
      false_alarms: 1%
"""
SHADOWED = """\
apiVersion: pointsman/v1
account: "123456789012"
targets:
  gpu: {kind: endpoint, endpoint: gpu, region: us-east-1, speaks: lmi}
  import:
    kind: bedrock
    model: arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefghij12
    speaks: openai-completions
    cold: {restore: 30s..90s, idle_limit: 15m}
endpoints:
  chat:
    owner: team
    clients_speak: lmi
    serve_from: gpu
    migrate:
      to: import
      steps: [{shadow: 100%, hold: 1h}, {share: 100%}]
      gates: {agreement: at least 0.9 of the A/A floor}
      false_alarms: 5%
      freeze: "Mon 05:00-06:00 UTC"
"""
"""The two sides speak two dialects; the step is left after an hour of copies."""


def played(
    policy: str,
    moments: Mapping[str, Iterable[tuple[float, int]]],
    span: float,
    seed: int = 0,
    config: EmulatorConfig | None = None,
    streams: float = 0.0,
    start: float = START,
) -> tuple[Tally, Played, Play]:
    """Play these arrivals."""

    def read(name: str) -> str:
        raise FileNotFoundError(name)

    policy_there, stand_ins = pointed(policy, "policy.yaml", {}, read, config)
    arrivals = {key: gather(each, span, start) for key, each in moments.items()}
    rehearsal = Play(policy_there, stand_ins, arrivals, start, span, seed, streams)
    tally = Tally(span)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return tally, runner.run(play(rehearsal, tally)), rehearsal
