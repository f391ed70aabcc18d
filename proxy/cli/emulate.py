"""`pointsman emulate`: the stand-ins on loopback, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import errno
import ipaddress
import signal
from importlib import resources
from pathlib import Path

from backends.emulator.config import EmulatorConfig, load_config
from backends.emulator.reading import EmulatorConfigError
from backends.emulator.server import Emulator

from . import EXIT_OK, StartError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--config", metavar="FILE", help="models and faults; without it the quickstart's are used")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default %(default)s)")
    parser.add_argument("--port", type=int, default=9080, help="0 takes a free one (default %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop. Errors: StartError."""
    config = read_config(arguments.config)
    if not is_loopback(arguments.host):
        msg = f"--host {arguments.host} is not a loopback address; the stand-ins only listen on 127.0.0.1 or ::1"
        raise StartError(msg)
    if not 0 <= arguments.port <= 65535:
        msg = f"--port {arguments.port} is not a port; take one from 0 (any free one) to 65535"
        raise StartError(msg)
    asyncio.run(_serve(config, arguments.host, arguments.port))
    return EXIT_OK


def read_config(path: str | None, flag: str = "--config") -> EmulatorConfig:
    """The configuration in a file, or the built-in one. Errors: StartError with one line per problem.

    `flag` is what named the file.
    """
    try:
        if path is None:
            text = resources.files("backends.emulator").joinpath("default.yaml").read_text("utf-8")
            return load_config(text, "default.yaml")
        return load_config(Path(path).read_text("utf-8"), path)
    except OSError as error:  # without stand-ins another command asks real targets: leave nothing out then
        otherwise = ", or leave it out" if flag == "--config" else ""
        msg = f"cannot read {path}: {error.strerror}; name a readable file with {flag}{otherwise}"
        raise StartError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"cannot read {path}: it is not UTF-8 text; name a YAML file with {flag}"
        raise StartError(msg) from error
    except EmulatorConfigError as error:
        raise StartError(str(error)) from error


def is_loopback(host: str) -> bool:
    """Whether `host` is a loopback address or `localhost`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _serve(config: EmulatorConfig, host: str, port: int) -> None:
    emulator = Emulator(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        bound = await emulator.start(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            msg = f"port {port} on {host} is in use; stop what listens there or choose another with --port"
        else:
            msg = f"cannot listen on {host} port {port}: {error.strerror}; choose another with --host or --port"
        raise StartError(msg) from error
    try:
        print(banner(config, host, bound), flush=True)
        await stop.wait()
    finally:
        await emulator.stop()


def banner(config: EmulatorConfig, host: str, port: int) -> str:
    """What is printed at the start: that this is not AWS, how to reach it, and what is there."""
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    key = config.credentials[0]
    lines = [
        f"STAND-IN (not AWS): SageMaker Runtime and Bedrock Runtime on {url}",
        "Every answer says `x-pointsman-emulator: stand-in`. To reach it with any AWS SDK:",
        f"  export AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME={url} AWS_ENDPOINT_URL_BEDROCK_RUNTIME={url}",
        f"  export AWS_REGION={config.region} AWS_DEFAULT_REGION={config.region}",
        f"  export AWS_ACCESS_KEY_ID={key.access_key_id} AWS_SECRET_ACCESS_KEY={key.secret_access_key}",
        "Models:",
        *(f"  {name}: {' '.join(config.address(name))}, {model.dialect}" for name, model in config.models.items()),
        f"Faults, clock, ledger, calls: {url}/_emulator (docs/emulator.md). Ctrl-C stops.",
    ]
    return "\n".join(lines)
