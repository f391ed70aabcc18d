"""A real vLLM on the CPU for tests: installed, given a tiny model with one LoRA adapter, started on loopback, stopped.

Measured on two cores: 76 s to install once (2.4 GB), 5 s to make the model once (600 kB), 14 s to start on a quiet
machine and 33 s beside a compile, 1 GB of memory, half a second to stop. Synchronous, so that a session-wide fixture
can own it.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.engine import EnginePlan, free_port
from deploy.engine.vllm import SETTINGS
from tests.environments import COMPLETE, Say, alone, cache_root, environment, fingerprint

MODEL = "tiny"
"""The served name of the base model."""
ADAPTER = "apex"
"""The served name of the LoRA adapter."""
MAKER = Path(__file__).parent / "vllm" / "make_tiny_model.py"
POLL_SECONDS = 0.25
START_SECONDS = 400.0
STOP_SECONDS = 60.0

FLAGS = (
    "--kv-cache-memory-bytes=64M",
    "--enable-lora",
    "--max-loras=2",
    "--max-lora-rank=8",
    "--max-cpu-loras=4",
)
"""Beyond what `deploy.engine` starts an engine with, or instead of it: the last of two flags counts."""


class EngineFailedError(Exception):
    """vLLM did not start; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A running vLLM."""

    url: str
    """Base URL without a trailing slash."""
    process: subprocess.Popen[bytes]
    log: Path


def tiny_model(python: Path, *, say: Say | None = None) -> tuple[Path, Path]:
    """Folders of the tiny model and of its adapter, made with the vllm environment's `python` on first use."""
    folder = cache_root() / f"tiny-model-{fingerprint(MAKER)}"
    model, adapter = folder / "model", folder / "adapter"
    with alone(folder.with_name(f"{folder.name}.flock")):
        if not (folder / COMPLETE).exists():
            if say:
                say("engines: making the tiny model")
            shutil.rmtree(folder, ignore_errors=True)
            command = [str(python), str(MAKER), str(model), str(adapter)]
            made = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False, env=_environ({}))
            if made.returncode:
                raise EngineFailedError(f"{' '.join(command)} failed:\n{made.stderr[-4000:]}")
            (folder / COMPLETE).touch()
    return model, adapter


@contextlib.contextmanager
def running_vllm(
    log: Path, *, flags: tuple[str, ...] = (), settings: Mapping[str, str] | None = None, say: Say | None = None
) -> Iterator[Engine]:
    """Serve the tiny model as `MODEL` and its adapter as `ADAPTER` on a free port until the block ends.

    `log` is the file that takes vLLM's output; `flags` and `settings` come after the proven ones.

    Raises:
        EnvironmentFailedError: vLLM could not be installed.
        EngineFailedError: it ended, or was not healthy within `START_SECONDS`.
    """
    python = environment("vllm", say=say)
    model, adapter = tiny_model(python, say=say)
    port = free_port()
    own = (f"--lora-modules={ADAPTER}={adapter}", *FLAGS, *flags)
    # float32, since the tiny model's numbers are compared between runs; bfloat16 kills the engine on some CPUs.
    plan = EnginePlan(python, model, MODEL, port, log, dtype="float32", threads=1, context=512, flags=own)
    with log.open("wb") as output:
        process = subprocess.Popen(
            plan.command(port),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=_environ({"OMP_NUM_THREADS": str(plan.threads), **(settings or {})}),
        )
    try:
        if say:
            say("engines: starting vLLM")
        _wait_until_healthy(process, port, log)
        yield Engine(f"http://127.0.0.1:{port}", process, log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_healthy(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(int(START_SECONDS / POLL_SECONDS)):
        if _healthy(port):
            return
        # Waiting for the process to end is the pause between two looks, and tells at once that there is none to come.
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(POLL_SECONDS)
            raise EngineFailedError(f"vLLM ended with {code} before it was healthy:\n{_tail(log)}")
    raise EngineFailedError(f"vLLM was not healthy after {START_SECONDS:.0f} s:\n{_tail(log)}")


def _healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-4000:]


def _environ(extra: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VLLM_", "AWS_"))}
    return {**kept, **SETTINGS, **extra}
