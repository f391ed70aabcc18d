"""`pointsman quickstart`: stand-ins and proxy in one process, with a policy to try; what `make run` starts.

One process, so that nothing can be left running. The stand-ins' own credentials are used: the user's AWS profile is
never read.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import uvloop

from backends.emulator.config import EmulatorConfig, load_config
from backends.emulator.server import Emulator
from policies.errors import PolicyError
from policies.table import Route

from ..policy_source import UnreadableError
from ..server import Addresses, CannotListen, running, signals
from ..settings import Settings, environment
from ..wiring import serving, static_credentials
from . import EXIT_OK, StartError, quickstart_vllm
from .given import port
from .ways import way

FOLDER = "examples/quickstart"


def configure(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.description = (
        "Start stand-ins for SageMaker and Bedrock on 127.0.0.1:9080 and the proxy on 127.0.0.1:8080, and print what "
        "to paste. Nothing here is AWS, nothing is billed, and your AWS profile is not read. Ctrl-C ends all of it."
    )
    parser.add_argument(
        "--engine",
        choices=["stand-ins", "vllm"],
        default="stand-ins",
        help="what answers: stand-ins, or real vLLM on this machine's CPU, which is fetched once (default stand-ins)",
    )
    parser.add_argument(
        "--folder",
        metavar="FOLDER",
        help=f"where policy.yaml is, and for stand-ins emulator.yaml (default {FOLDER}, or {FOLDER}-vllm)",
    )
    parser.add_argument("--port", metavar="N", type=port, default=8080, help="port of the proxy (default 8080)")
    parser.add_argument("--admin-port", metavar="N", type=port, default=8081, help="port for operators (default 8081)")
    parser.add_argument(
        "--emulator-port", metavar="N", type=port, default=9080, help="port of the stand-ins (default 9080)"
    )
    parser.add_argument(
        "--engine-port", metavar="N", type=port, default=8100, help="port of vLLM; 0 takes a free one (default 8100)"
    )
    parser.add_argument(
        "--engine-log", metavar="FILE", default=".cache/vllm.log", help="what vLLM says (default .cache/vllm.log)"
    )
    parser.add_argument(
        "--log", metavar="FILE", default=".cache/quickstart.log", help="the request log (default .cache/quickstart.log)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    if arguments.engine == "vllm":
        return quickstart_vllm.run(arguments)
    folder = Path(arguments.folder or FOLDER)
    try:
        config = _stand_ins(folder / "emulator.yaml")
        log = Path(arguments.log)
        log.parent.mkdir(parents=True, exist_ok=True)
        settings = Settings(
            policy=str(folder / "policy.yaml"),
            port=arguments.port,
            admin_port=arguments.admin_port,
            log=str(log),
            drain=2.0,
        )
        uvloop.run(_serve(settings, config, arguments.emulator_port))
    except CannotListen as error:
        msg = f"{error}; through make: `make run ARGS='--port 8090 --admin-port 8091 --emulator-port 9090'`"
        raise StartError(msg) from error
    except (UnreadableError, PolicyError) as error:
        raise StartError(str(error)) from error
    except OSError as error:
        msg = f"{error.filename or 'a file'}: {(error.strerror or str(error)).lower()}; run it where you may write"
        raise StartError(msg) from error
    return EXIT_OK


def _stand_ins(path: Path) -> EmulatorConfig:
    try:
        return load_config(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        msg = (
            f"{path}: {(error.strerror or str(error)).lower()}; run it in a checkout, or name the folder with --folder"
        )
        raise StartError(msg) from error
    except ValueError as error:
        raise StartError(str(error)) from error


async def _serve(settings: Settings, config: EmulatorConfig, emulator_port: int) -> None:
    emulator = Emulator(config)
    try:
        bound = await emulator.start("127.0.0.1", emulator_port)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)  # asyncio's own words have the address again
        msg = f"can't listen on 127.0.0.1:{emulator_port} ({reason.lower()}); "
        raise CannotListen(msg + "stop what holds it, or choose another with --emulator-port") from error
    try:
        variables = dict(environment()) | {"POINTSMAN_EMULATOR_URL": f"http://127.0.0.1:{bound}"}
        pair = config.credentials[0]
        credentials = static_credentials(pair.access_key_id, pair.secret_access_key)
        async with (
            serving(settings, variables, credentials) as services,
            running(settings, services) as addresses,
            signals(services) as ended,
        ):
            print(_welcome(addresses, bound, services.policy.current.table.routes, settings.log), flush=True)
            await ended.wait()
            print("stopping", flush=True)
    finally:
        await emulator.stop()


def _welcome(addresses: Addresses, emulator: int, routes: Mapping[tuple[str, str | None], Route], log: str) -> str:
    url = f"http://127.0.0.1:{addresses.port}"
    lines = [
        f"Pointsman is serving on {url}; stand-ins (not AWS) answer on http://127.0.0.1:{emulator}.",
        "",
        "Where each model is routed:",
        *(f"  {route.key:24} {way(route)}" for route in routes.values()),
        "",
        "Paste into another terminal. With boto3, unchanged but for the environment:",
        "",
        f"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME={url} AWS_DEFAULT_REGION=us-east-1 \\",
        f"AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any {sys.executable} - <<'EOF'",
        "import boto3, json",
        'body = json.dumps({"messages": [{"role": "user", "content": "What does a pointsman do?"}]})',
        'answer = boto3.client("sagemaker-runtime").invoke_endpoint(',
        '    EndpointName="apexguru", ContentType="application/json", Body=body)',
        'print(json.loads(answer["Body"].read())["choices"][0]["message"]["content"])',
        "EOF",
        "",
        "Or with curl, to see the headers of an answer:",
        "",
        f"curl -si {url}/endpoints/codegen-shared/invocations -H 'X-Amzn-SageMaker-Inference-Component: blockgen' \\",
        """  -H 'Content-Type: application/json' -d '{"messages": [{"role": "user", "content": "Hello"}]}'""",
        "",
        f"Metrics: http://127.0.0.1:{addresses.admin_port}/metrics. Why a request went where it went:",
        f"  {Path(sys.executable).parent / 'pointsman'} why REQUEST_ID --log {log}",
        "Ctrl-C ends all of it.",
    ]
    return "\n".join(lines)
