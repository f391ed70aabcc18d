"""What the hop through the proxy adds to a call: `make bench`, or `python -m benchmarks.hop --help`.

Three processes: this one (client), a static target, and `pointsman serve` as shipped (log to a file, spans off).
Each round sends the same request directly to the target and through the proxy, one right after the other and in turn
first, for every kind, answer and number of connections; rounds repeat, so that a machine that drifts moves both sides.
Where there are two cores the proxy has one to itself. The client is not boto3 but prepared bytes on kept connections,
so that what is measured is the hop; the rows `boto3` say what an SDK's user sees of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import monotonic, perf_counter_ns
from typing import Any

import boto3
import uvloop
from botocore.config import Config

from backends.wire.eventstream import Decoder

from . import machine, upstream
from .load import Sample, Shot, load, once, shot
from .processes import printed, process
from .report import Cell, Measured, Round, as_json, as_markdown

ARN = "arn:aws:bedrock:us-east-1:123456789012:imported-model/static000001"
KINDS = ("vllm", "endpoint", "bedrock", "boto3")
CONNECTIONS = (1, 16)

POLICY = """\
apiVersion: pointsman/v1
account: "123456789012"
targets:
  vllm: {kind: vllm, urls: ["URL"], model: static, speaks: openai-chat, limit: {min: 64}}
  endpoint: {kind: endpoint, endpoint: static, region: us-east-1, url: "URL", speaks: openai-chat, limit: {min: 64}}
  bedrock: {kind: bedrock, model: "ARN", url: "URL", speaks: openai-chat, limit: {min: 64}}
endpoints:
  vllm: {serve_from: vllm}
  endpoint: {serve_from: endpoint}
  bedrock: {serve_from: bedrock}
"""
"""The adaptive limits are on, but start at more than the connections: a machine that stalls is no overloaded target."""

DIRECT = {
    ("vllm", "whole"): "/invocations",
    ("vllm", "stream"): "/invocations",
    ("endpoint", "whole"): "/endpoints/static/invocations",
    ("endpoint", "stream"): "/endpoints/static/invocations-response-stream",
    ("bedrock", "whole"): f"/model/{ARN.replace(':', '%3A').replace('/', '%2F')}/invoke",
    ("bedrock", "stream"): f"/model/{ARN.replace(':', '%3A').replace('/', '%2F')}/invoke-with-response-stream",
}

Fire = Callable[[float], Awaitable[tuple[list[Sample], float]]]
"""Sends requests for so many seconds; gives the samples and the seconds it took."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Two running processes and how to reach them."""

    target: str
    proxy: str
    proxy_pid: int


def main() -> None:
    """Measure, print the tables, write both files."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hop", description="What the added hop costs.", allow_abbrev=False
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.25, help="length of one side of one round")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"some of {', '.join(KINDS)}")
    parser.add_argument("--out", type=Path, default=machine.RESULTS, help="folder of the results")
    arguments = parser.parse_args()
    about: dict[str, object] = {
        "commit": machine.commit(),
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        **machine.facts(),
    }
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as (bench, pinned):
        about |= {"pinned": pinned, "rounds": arguments.rounds, "seconds per side": arguments.seconds}
        about |= {"request": f"{len(body('whole'))} bytes", "whole answer": f"{len(upstream.ANSWER)} bytes"}
        about["stream"] = f"{len(upstream.SSE)} events of {len(upstream.SSE[0])} bytes"
        cells = uvloop.run(measure(bench, arguments.kinds.split(","), arguments.rounds, arguments.seconds))
    arguments.out.mkdir(parents=True, exist_ok=True)
    name = arguments.out / f"hop-{datetime.now(UTC):%Y-%m-%d}-{about['commit']}"
    text = as_markdown(cells, about)
    name.with_suffix(".json").write_text(json.dumps(as_json(cells, about), indent=1) + "\n")
    name.with_suffix(".md").write_text(text)
    print(f"{text}\nwritten to {name}.md and .json")


@contextmanager
def running(folder: Path) -> Iterator[tuple[Bench, str]]:
    """The target and the proxy, ready to serve; both end with the block."""
    cores = machine.split_cores()
    if cores:
        machine.pin(0, cores[1])  # and what this process starts, until it is moved
    with process([sys.executable, "-m", "benchmarks.upstream"]) as target:
        url = f"http://127.0.0.1:{int(printed(target))}"
        policy = folder / "policy.yaml"
        policy.write_text(POLICY.replace("URL", url).replace("ARN", ARN))
        flags = ["--policy", str(policy), "--port", "0", "--admin-port", "0", "--log", str(folder / "requests.log")]
        with process([sys.executable, "-m", "proxy", "serve", *flags]) as proxy:
            ready = json.loads(printed(proxy))
            pinned = bool(cores) and machine.pin(proxy.pid, cores[0] if cores else set())
            how = "proxy on a core of its own, client and target share another" if pinned else "no"
            yield Bench(url, f"http://127.0.0.1:{ready['port']}", proxy.pid), how


def body(answer: str) -> bytes:
    """A chat request of about 950 bytes."""
    messages = [{"role": "user", "content": "x" * 830}]
    return json.dumps(
        {"model": "static", "messages": messages, "max_tokens": 85, "stream": answer == "stream"}
    ).encode()


def shots(bench: Bench, kind: str, answer: str) -> tuple[Shot, Shot]:
    """The request as it goes to the target directly, and as a SageMaker client sends it to the proxy."""
    operation = "invocations-response-stream" if answer == "stream" else "invocations"
    direct = shot(bench.target + DIRECT[kind, answer], body(answer), {})
    return direct, shot(f"{bench.proxy}/endpoints/{kind}/{operation}", body(answer), {})


async def measure(bench: Bench, kinds: list[str], rounds: int, seconds: float) -> list[Cell]:
    """All cells, their rounds interleaved."""
    sides: dict[tuple[str, str, int], tuple[Fire, Fire]] = {}
    for answer in ("whole", "stream"):
        for kind in kinds:
            if kind == "boto3":
                sides[kind, answer, 1] = (_sdk(bench.target, answer), _sdk(bench.proxy, answer))
                continue
            direct, proxied = shots(bench, kind, answer)
            check(answer, await once(proxied))
            for connections in CONNECTIONS:
                sides[kind, answer, connections] = (_raw(direct, connections), _raw(proxied, connections))
    measured: dict[tuple[str, str, int], list[Round]] = {key: [] for key in sides}
    began = monotonic()
    for number in range(-1, rounds):  # the first one warms up and is not kept
        for key, pair in sides.items():
            result = await one_round(pair, bench.proxy_pid, seconds, proxy_first=number % 2 == 0)
            if number >= 0:
                measured[key].append(result)
        machine.progress("hop", number + 1, rounds, began, monotonic())
    return [Cell(*key, tuple(measured[key])) for key in sides]


async def one_round(pair: tuple[Fire, Fire], pid: int, seconds: float, *, proxy_first: bool) -> Round:
    """Both sides once; which goes first alternates."""
    results: dict[bool, Measured] = {}
    for through_proxy in (proxy_first, not proxy_first):
        before = machine.cpu(pid)
        samples, took = await pair[through_proxy](seconds)
        after = machine.cpu(pid)
        results[through_proxy] = Measured(
            median_us=median(each.whole for each in samples) / 1e3,
            first_byte_us=median(each.first for each in samples) / 1e3,
            per_second=len(samples) / took,
            requests=len(samples),
            cpu_us=(after.ran - before.ran) / len(samples) * 1e6 if through_proxy else None,
            waited=(after.waited - before.waited) / took if through_proxy else 0.0,
        )
    return Round(results[False], results[True])


def check(answer: str, raw: bytes) -> None:
    """The proxy's answer is the target's, to the byte; otherwise there is nothing worth timing."""
    if answer == "whole":
        got = raw
    else:
        pieces, rest = [], raw
        while rest:
            size, rest = rest.split(b"\r\n", 1)
            pieces.append(rest[: int(size, 16)])
            rest = rest[int(size, 16) + 2 :]
        got = b"".join(frame.payload for frame in Decoder().feed(b"".join(pieces)))
    expected = upstream.ANSWER if answer == "whole" else b"".join(upstream.SSE)
    if got != expected:
        raise SystemExit(f"the proxied {answer} answer differs from the target's: {got[:200]!r}...")


def _raw(target: Shot, connections: int) -> Fire:
    return lambda seconds: load(target, connections, seconds)


def _sdk(url: str, answer: str) -> Fire:
    client: Any = boto3.client(
        "sagemaker-runtime", endpoint_url=url, region_name="us-east-1",
        aws_access_key_id="AKIDBENCHMARK", aws_secret_access_key="not-a-secret",
        config=Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip
    request = {"EndpointName": "endpoint", "ContentType": "application/json", "Body": body(answer)}

    def call() -> Sample:
        began = perf_counter_ns()
        if answer == "whole":
            client.invoke_endpoint(**request)["Body"].read()
            return Sample(perf_counter_ns() - began, perf_counter_ns() - began)
        events = iter(client.invoke_endpoint_with_response_stream(**request)["Body"])
        next(events)
        first = perf_counter_ns() - began
        for _ in events:
            pass
        return Sample(first, perf_counter_ns() - began)

    def calls(seconds: float) -> tuple[list[Sample], float]:
        began, samples = perf_counter_ns(), []
        while perf_counter_ns() - began < seconds * 1e9:
            samples.append(call())
        return samples, (perf_counter_ns() - began) / 1e9

    return lambda seconds: asyncio.to_thread(calls, seconds)


if __name__ == "__main__":
    main()
