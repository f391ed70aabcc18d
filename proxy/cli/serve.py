"""`pointsman serve`: run the proxy until it is told to stop."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

import orjson
import uvloop

from backends.http.names import THREADS
from backends.state import StoreError
from policies.errors import PolicyError
from warmers.prices import open_prices

from ..flags import add_flags
from ..notify import notify
from ..policy_source import UnreadableError
from ..server import Addresses, CannotListen, running, settle, signals
from ..settings import Settings, SettingsError, environment, read
from ..wiring import look_for_credentials, serving, supervisor
from ..workers.handover import CannotSucceed
from ..workers.pool import CannotServe
from . import EXIT_OK, StartError
from .given import usable


def configure(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.description = (
        "Run the proxy. Clients reach it by AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME=http://HOST:PORT and change nothing "
        "else. SIGHUP reloads the policy, SIGTERM drains."
    )
    add_flags(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve; returns when the process was told to stop."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)  # it tells where it found credentials, whenever it does
    environment().setdefault(*THREADS)  # workers inherit it
    try:
        settings = read(vars(arguments), environment())
        _read_prices(settings)
        _count_cores(settings)
        uvloop.run(_serve(settings) if settings.workers == 1 else _supervise(settings))
    except UnreadableError as error:
        msg = f"the policy can't be read: {error}; name a readable one with --policy"
        raise StartError(msg) from error
    except (
        *(SettingsError, CannotListen, PolicyError, StoreError),
        *(CannotServe, CannotSucceed),
    ) as error:
        raise StartError(str(error)) from error
    except OSError as error:
        msg = f"{error.filename or 'a file'}: {error.strerror}; choose another place with --log"
        raise StartError(msg) from error
    return EXIT_OK


def _read_prices(settings: Settings) -> None:
    """Raises StartError for prices that can't be used: read when the first cost is asked for, they would cost a line
    of the log and all that is said in dollars, gates of cost as well."""
    if settings.prices is not None:
        path = Path(settings.prices)
        usable("--prices", lambda: open_prices(path))


def _count_cores(settings: Settings) -> None:
    """Say so where workers that take their cores whole leave none to anybody else."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # a system that binds no process to cores
        cores = os.cpu_count() or 1
    if settings.busy_poll and settings.workers >= cores:
        text = "%d of %d cores are taken whole while there are requests (--busy-poll): leave one to handlers and others"
        logging.getLogger("pointsman.server").warning(text, min(settings.workers, cores), cores)


async def _serve(settings: Settings) -> None:
    async with (
        serving(settings, environment()) as services,
        running(settings, services) as addresses,
        signals(services) as ended,
    ):
        await look_for_credentials(services.policy.current.table, environment())
        settle()
        _announce(addresses, services.policy.current.label)
        await ended.wait()
        logging.getLogger("pointsman.server").info("draining")


async def _supervise(settings: Settings) -> None:
    await supervisor(settings, environment()).supervise(_announce)


def _announce(addresses: Addresses, policy: str) -> None:
    ready = {"ready": True, "host": addresses.host, "port": addresses.port, "admin_port": addresses.admin_port}
    sys.stdout.buffer.write(orjson.dumps(ready | {"policy": policy}) + b"\n")
    sys.stdout.flush()
    notify(environment(), "READY=1", f"MAINPID={os.getpid()}")
    host = f"[{addresses.host}]" if ":" in addresses.host else addresses.host
    where = f"http{'s' if addresses.tls else ''}://{host}:{addresses.port}"
    operators = "no admin port" if addresses.admin_port is None else f"admin on 127.0.0.1:{addresses.admin_port}"
    logging.getLogger("pointsman.server").info("serving on %s, %s", where, operators)
