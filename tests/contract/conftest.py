"""What all contract tests share: a proxy over stand-ins, one over real vLLM, and clients started when asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from tests.engines import ADAPTER, MODEL, Engine, running_vllm
from tests.environments import Say
from tests.standins import Standin, config_of, emulator_in_thread

from .clients import DRIVERS, STREAMING, Client, running_client
from .hosting import MODELS, STANDINS, Hosting, Name, params_of, policy, written
from .serving import Proxy, running_proxy

GetClient = Callable[[str, Proxy], Client]
VLLM_NAMES = (*STANDINS, pytest.param("vllm", marks=pytest.mark.vllm))


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Say:
    """Progress of long work, on the terminal although output is captured."""
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    return lambda line: reporter.write_line(f"\n{line}") if reporter else None


@pytest.fixture(scope="session")
def standin() -> Iterator[Standin]:
    """The stand-ins of SageMaker, Bedrock and an engine."""
    with emulator_in_thread(config_of(MODELS)) as running:
        yield running


@pytest.fixture(scope="session")
def standin_proxy(standin: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy that routes to the stand-ins."""
    with running_proxy(tmp_path_factory.mktemp("standin-proxy"), policy(standin.url)) as running:
        yield running


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory, say: Say) -> Iterator[Engine]:
    """Real vLLM with the tiny model and its adapter."""
    with running_vllm(tmp_path_factory.mktemp("vllm") / "vllm.log", say=say) as running:
        yield running


@pytest.fixture(scope="session")
def vllm_proxy(vllm: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy that routes to real vLLM: `vllm` is its base model, `vllm-lora` its adapter, `vllm-nope` a wrong name."""
    target = {"kind": "vllm", "url": vllm.url, "speaks": "openai-chat"}
    targets = {
        "vllm": target | {"model": MODEL},
        "vllm-lora": target | {"model": MODEL, "adapter": ADAPTER},
        "vllm-nope": target | {"model": "nope"},
    }
    route = {"clients_speak": "openai-chat", "timeout": "4m", "stream_timeout": "4m"}  # a busy machine computes slowly
    endpoints = {name: route | {"serve_from": name} for name in targets}
    with running_proxy(tmp_path_factory.mktemp("vllm-proxy"), written(targets, endpoints)) as running:
        yield running


@pytest.fixture(scope="session")
def get_client(say: Say) -> Iterator[GetClient]:
    """Clients by name and proxy; each runs once for the session."""
    with contextlib.ExitStack() as stack:
        running: dict[tuple[str, int], Client] = {}

        def get(name: str, proxy: Proxy) -> Client:
            key = (name, proxy.port)
            if key not in running:
                running[key] = stack.enter_context(running_client(name, proxy.client_variables, say=say))
            return running[key]

        yield get


@pytest.fixture(params=VLLM_NAMES)
def hosting(request: pytest.FixtureRequest) -> Iterator[Hosting]:
    """Every kind of hosting, real vLLM among them."""
    name = cast(Name, request.param)
    if name == "vllm":
        yield Hosting(name, request.getfixturevalue("vllm_proxy"), params_of(name), None)
    else:
        yield from _fresh(name, request)


@pytest.fixture(params=STANDINS)
def standin_hosting(request: pytest.FixtureRequest) -> Iterator[Hosting]:
    """Every kind of hosting that fails on demand."""
    yield from _fresh(cast(Name, request.param), request)


@pytest.fixture
def dedicated(request: pytest.FixtureRequest) -> Iterator[Hosting]:
    """One hosting, where the kind makes no difference."""
    yield from _fresh("dedicated", request)


def _fresh(name: Name, request: pytest.FixtureRequest) -> Iterator[Hosting]:
    hosting = Hosting(
        name, request.getfixturevalue("standin_proxy"), params_of(name), request.getfixturevalue("standin")
    )
    hosting.control("DELETE", "faults")
    hosting.control("DELETE", "calls")
    yield hosting
    hosting.control("DELETE", "faults")


@pytest.fixture(params=DRIVERS)
def client_name(request: pytest.FixtureRequest) -> str:
    """Every client."""
    return str(request.param)


@pytest.fixture(params=STREAMING)
def streaming_name(request: pytest.FixtureRequest) -> str:
    """Every client that has the streaming operation."""
    return str(request.param)
