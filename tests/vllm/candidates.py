"""A real model and broken copies of it, each served by vLLM on the CPU, asked the same and compared as copies are.

The wrong chat template needs no engine of its own: a migration from a chat endpoint to a target that reads prompts has
its chats put into a template by the proxy, and the policy names the wrong one.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from backends.base import Call, Invocation
from backends.http.transport import HttpTransport
from backends.translated import Translated
from backends.vllm import VllmBackend
from backends.wire.comparison import Comparison, Heard, compare
from deploy.engine import EnginePlan, running_vllm
from policies.agreement import Agreement, judge, observed
from policies.table import Target, TranslateRule, VllmSpec
from policies.verdicts import Answer
from proxy.cli.quickstart_vllm import installed
from warmers.shadow.copies import copied

from .. import environments

MAKER = Path(__file__).with_name("make_broken_models.py")
LLAMA_2 = TranslateRule(chat_template="{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}")
"""Another family's chat template."""
SPEAKS = "openai-chat"
PATIENCE = 300.0
"""Seconds that an answer may take: engines share what the machine has left."""
BOUND, FALSE_ALARMS = 0.97, 0.01
_LANDS = (
    "France",
    "Japan",
    "Italy",
    "Egypt",
    "Canada",
    "Spain",
    "Kenya",
    "Peru",
    "Norway",
    "India",
    "Cuba",
    "Greece",
    "Chile",
    "Nepal",
)
_THINGS = (
    "the sky",
    "snow",
    "a lemon",
    "grass",
    "blood",
    "coal",
    "a carrot",
    "milk",
    "the sea",
    "a ruby",
    "gold",
    "ink",
    "a rose",
    "sand",
)
_ANIMALS = (
    "dog",
    "spider",
    "bird",
    "fish",
    "horse",
    "ant",
    "snake",
    "cat",
    "crab",
    "cow",
    "fly",
    "duck",
    "goat",
    "worm",
)
ASKED = tuple(
    question
    for land, thing, animal in zip(_LANDS, _THINGS, _ANIMALS, strict=True)
    for question in (
        f"What is the capital of {land}?",
        f"What colour is {thing}? Answer in one sentence.",
        f"How many legs does a {animal} have?",
    )
)
"""What short answers follow to, which end by themselves."""


class Engines:
    """The model as `good`, `no-end` and `weights`; `template` is the good one behind the wrong chat template."""

    def __init__(self, urls: Mapping[str, str], transport: HttpTransport) -> None:
        self._backend = Translated(VllmBackend(transport), lambda: 0.0)
        self._targets = {
            name: Target(name, "vllm", VllmSpec((url,), name), speaks=SPEAKS) for name, url in urls.items()
        }
        reads_prompts = VllmSpec((urls["good"],), "good")
        self._targets["template"] = Target("template", "vllm", reads_prompts, speaks="openai-completions")

    async def ask(self, name: str, text: str, temperature: float) -> Heard:
        """What one of them answers."""
        chat = {"messages": [{"role": "user", "content": text}], "max_tokens": 40, "temperature": temperature}
        body = json.dumps(chat).encode()
        invocation = Invocation("chat", None, streaming=False, body=body, request_id="r-1")
        call = Call(invocation, body, "application/json", None, None, speaks=SPEAKS, translate=LLAMA_2)
        now = asyncio.get_running_loop().time
        failure = ""
        for _ in range(3):  # engines that get next to nothing of the machine drop connections
            copy = await copied(self._backend, self._targets[name], call, now() + 600.0, 0, now)
            if copy.heard is not None:
                return copy.heard
            failure = str(copy.failure)
        raise AssertionError(failure)

    async def compared(self, candidates: tuple[str, ...], text: str, temperature: float) -> list[Comparison]:
        """The good one's answer against its own second one, and against each candidate's."""
        names = ("good", "good", *candidates)
        first, *others = await asyncio.gather(*(self.ask(name, text, temperature) for name in names))
        return [compare(SPEAKS, first, other) for other in others]


class Trial:
    """Candidates judged after every request, as the gate of a migration does it."""

    def __init__(self, *candidates: str) -> None:
        self._evidence = {name: Agreement(BOUND) for name in candidates}
        self.took: dict[str, int] = {}
        """After how many requests each candidate was called red."""
        self.green: dict[str, int] = {}
        """After how many each was called as good as the model itself, for the first time."""
        self.why: dict[str, str] = {}

    @property
    def left(self) -> tuple[str, ...]:
        """Those that have not been called red yet."""
        return tuple(name for name in self._evidence if name not in self.took)

    async def run(
        self, engines: Engines, temperature: float, asked: tuple[str, ...] = ASKED, at_a_time: int = 3
    ) -> None:
        """Ask until all are called red, or everything was asked."""
        for begin in range(0, len(asked), at_a_time):
            candidates = self.left
            if not candidates:
                return
            texts = asked[begin : begin + at_a_time]
            found = await asyncio.gather(*(engines.compared(candidates, text, temperature) for text in texts))
            for floor, *scores in found:
                for name, score in zip(candidates, scores, strict=True):
                    self._judge(name, score, floor)

    def _judge(self, name: str, candidate: Comparison, floor: Comparison) -> None:
        if name in self.took:
            return
        seen = observed(BOUND, candidate.score, floor.score, candidate.parts, floor.parts)
        self._evidence[name] = evidence = self._evidence[name].merged(seen)
        verdict = judge(evidence, FALSE_ALARMS)
        self.why[name] = verdict.why
        if verdict.answer is Answer.RED:
            self.took[name] = evidence.requests
        elif verdict.answer is Answer.GREEN:
            self.green.setdefault(name, evidence.requests)


@asynccontextmanager
async def running(folder: Path, names: tuple[str, ...] = ("good", "no-end", "weights")) -> AsyncIterator[Engines]:
    """These engines, at work at the same time; their models lie in `folder`."""
    python, model = await asyncio.to_thread(installed, environments.cache_root())
    command = [str(python), str(MAKER), str(model), str(folder)]
    await asyncio.to_thread(subprocess.run, command, check=True, timeout=600)
    models = {"good": model, "no-end": folder / "no-end", "weights": folder / "weights"}
    plans = [
        EnginePlan(python, place, name, 0, folder / f"{name}.log", threads=1, context=512)
        for name, place in models.items()
        if name in names
    ]
    async with AsyncExitStack() as stack:
        # One after the other: at the same time they would need little less in all, and each much longer.
        engines = [await stack.enter_async_context(running_vllm(plan)) for plan in plans]
        transport = HttpTransport()
        stack.push_async_callback(transport.aclose)
        yield Engines({plan.name: engine.url for plan, engine in zip(plans, engines, strict=True)}, transport)
