"""What overload does to a target behind the proxy: `python -m benchmarks.overload --help`.

Three processes: a target that serves so many requests at a time and queues the rest for ever, as an engine does;
`pointsman serve`; and this one, an open-loop client, whose requests come when they are due whether earlier ones have
been answered or not. Goodput is answers within `PATIENCE` seconds; what was queued at the end of a point counts for it,
so that it can pass the capacity a little. What the target takes differs from request to request as it does of models
(log-normal, `--spread`). The curve is measured twice: with the limit that adapts, and with one that is
fixed far above what the target bears. Beside the hot endpoint a cool one is asked all the time: what it feels shows
whether one hot endpoint slows another.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import uvloop

from backends.http.transport import HttpTransport, Outgoing, TransportError

from . import machine
from .processes import printed, process

SLOTS, SERVICE = 10, 0.1
"""The hot target: 10 at a time, 100 ms each in the mean, so 100 requests a second."""
PATIENCE = 1.0
LOADS = (0.5, 1.0, 1.5, 2.0, 3.0)
COOL_RATE = 10.0
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
POLICY = """\
apiVersion: pointsman/v1
account: "123456789012"
defaults: {timeout: 20s, retry: {attempts: 1}}
targets:
  adapts: {kind: vllm, url: "HOT", model: m}
  fixed: {kind: vllm, url: "HOT", model: m, limit: {min: 100000, max: 100000}}
  cool: {kind: vllm, url: "COOL", model: m}
endpoints:
  adapts: {serve_from: adapts}
  fixed: {serve_from: fixed}
  cool: {serve_from: cool}
"""


@dataclass(frozen=True, slots=True)
class Answered:
    """One request, over."""

    status: int
    seconds: float
    """From when it was due, so that what makes this client late counts as well."""
    own: float = 0.0
    """Seconds of them that the proxy says were its own, waits for targets apart."""


async def target(spread: float) -> None:
    """The target's process: prints its two ports, serves until its input ends. `spread`: see `--spread`."""
    slots, draw = asyncio.Semaphore(SLOTS), random.Random(1)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hot: bool) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
                )
                await reader.readexactly(length)
                if hot:
                    async with slots:
                        await asyncio.sleep(SERVICE * draw.lognormvariate(-(spread**2) / 2.0, spread))
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    ports = []
    for hot in (True, False):
        server = await asyncio.start_server(lambda r, w, hot=hot: serve(r, w, hot), "127.0.0.1", 0)  # type: ignore[misc]
        ports.append(server.sockets[0].getsockname()[1])
    print(json.dumps(ports), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


class Client:
    """Sends when it is due and notes what became of it."""

    def __init__(self, transport: HttpTransport, url: str) -> None:
        self._transport, self._url, self._loop = transport, url, asyncio.get_running_loop()

    async def load(self, endpoint: str, rate: float, seconds: float) -> list[Answered]:
        """Requests at a steady rate, open loop."""
        began = self._loop.time()
        tasks = []
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * seconds)):
                due = began + number / rate
                if (early := due - self._loop.time()) > 0:
                    await asyncio.sleep(early)
                tasks.append(group.create_task(self._one(endpoint, due)))
        return [task.result() for task in tasks]

    async def _one(self, endpoint: str, due: float) -> Answered:
        url = f"{self._url}/endpoints/{endpoint}/invocations"
        request = Outgoing("POST", url, (("Content-Type", "application/json"),), b"{}")
        try:
            answer = await self._transport.send(request, deadline=due + 25.0, connect_timeout=10.0)
            try:
                await answer.read(4096)
            finally:
                await answer.aclose()
        except TransportError:
            return Answered(0, self._loop.time() - due)
        own = next((value for name, value in answer.headers if name.lower() == "x-pointsman-overhead-us"), "0")
        return Answered(answer.status, self._loop.time() - due, int(own) / 1e6)


def quantile(values: list[float], share: float) -> float:
    """In milliseconds; 0 without values."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] * 1e3 if values else 0.0


async def measure(url: str, seconds: float) -> list[str]:
    """The rows of the table."""
    transport = HttpTransport()
    client = Client(transport, url)
    rows = []
    for endpoint in ("adapts", "fixed"):
        for load in LOADS:
            rate = load * SLOTS / SERVICE
            await client.load(endpoint, rate, 2.0)  # the limit finds its value
            hot, cool = await asyncio.gather(
                client.load(endpoint, rate, seconds), client.load("cool", COOL_RATE, seconds)
            )
            good = [each.seconds for each in hot if each.status == 200 and each.seconds <= PATIENCE]
            shed = [each.seconds for each in hot if each.status == 429]
            own = [each.own for each in hot if each.status == 429]
            other = len(hot) - len(shed) - sum(each.status == 200 for each in hot)
            calm = [each.seconds for each in cool]
            rows.append(
                f"| {endpoint} | {load:g} | {len(good) / seconds:.0f} | {quantile(good, 0.5):.0f} | {len(shed)} | "
                f"{quantile(shed, 0.5):.1f} | {quantile(shed, 0.99):.1f} | {quantile(own, 0.99):.1f} | {other} | "
                f"{quantile(calm, 0.5):.1f} | {quantile(calm, 0.99):.1f} |"
            )
            print(rows[-1], file=sys.stderr, flush=True)
            await asyncio.sleep(3.0)  # the target's own queue drains
    await transport.aclose()
    return rows


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overload", description="Goodput under overload.", allow_abbrev=False
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each point of the curve")
    spread = "standard deviation of the logarithm of what the target takes, 0 for the same each time (%(default)s)"
    parser.add_argument("--spread", type=float, default=0.5, help=spread)
    parser.add_argument("--target", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.target:
        uvloop.run(target(arguments.spread))
        return
    with (
        tempfile.TemporaryDirectory() as name,
        process([sys.executable, "-m", "benchmarks.overload", "--target", "--spread", str(arguments.spread)]) as one,
    ):
        folder = Path(name)
        hot, cool = json.loads(printed(one))
        policy = folder / "policy.yaml"
        addresses = {"HOT": f"http://127.0.0.1:{hot}", "COOL": f"http://127.0.0.1:{cool}"}
        text = POLICY
        for word, address in addresses.items():
            text = text.replace(word, address)
        policy.write_text(text)
        flags = ["--policy", str(policy), "--port", "0", "--admin-port", "0", "--log", str(folder / "log")]
        with process([sys.executable, "-m", "proxy", "serve", *flags]) as proxy:
            port = json.loads(printed(proxy))["port"]
            rows = uvloop.run(measure(f"http://127.0.0.1:{port}", arguments.seconds))
    what = f"capacity {SLOTS / SERVICE:.0f}/s, spread {arguments.spread:g}; good: answered within {PATIENCE:g} s"
    print(f"commit {machine.commit()}; {what}\n")
    heads = "limit", "load", "good/s", "p50 ms", "shed", "shed p50 ms", "shed p99 ms", "proxy's own p99 ms", "other"
    print("| " + " | ".join((*heads, "cool p50 ms", "cool p99 ms")) + " |")
    print("|" + "---|" * (len(heads) + 2) + "\n" + "\n".join(rows))


if __name__ == "__main__":
    main()
