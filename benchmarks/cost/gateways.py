"""Gateways of others, each with settings that cost it little: one worker, one target, no log line a request.

nginx counts where it is installed. The rest come from PyPI, locked with hashes in `benchmarks/environments`, each into
an environment of its own that is kept between runs. None is needed: one that is not there is left out, with the reason.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import urlsplit

from deploy.engine import EnvironmentFailedError, cache_root, environment, fingerprint, is_complete

from .. import machine
from ..hop import body
from .systems import Cell, Server

LOCKS = machine.ROOT / "benchmarks" / "environments"
CHAT = "/v1/chat/completions"
PATIENT = 120.0
"""Seconds for LiteLLM to start: it imports for ten and more."""

NGINX = """\
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  keepalive_requests 1000000000;
  upstream target { server TARGET; keepalive 64; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:PORT;
    location / {
      proxy_pass http://target;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }
  }
}
"""
"""Without buffering, as one has to set it for streams of tokens."""

NO_KEY = "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY=true"
"""Without it LiteLLM wants a key of every client, which would cost it more."""
LITELLM = """\
model_list:
  - model_name: static
    litellm_params: {model: openai/static, api_base: "URL/v1", api_key: none}
litellm_settings: {num_retries: 0, telemetry: false}
"""


def found(names: Iterable[str], *, build: bool, say: Callable[[str], None]) -> tuple[list[Server], dict[str, str]]:
    """Those of `names` that can be run here, and why the others cannot; without `build` nothing is installed."""
    servers: list[Server] = []
    missing: dict[str, str] = {}
    for name in names:
        try:
            servers.append(_nginx() if name == "nginx" else _routed(name, _python(name, build, say)))
        except (EnvironmentFailedError, FileNotFoundError) as error:
            missing[name] = str(error)
    return servers, missing


def releases(servers: Iterable[Server]) -> dict[str, str]:
    """What is compared with, and which release of it."""
    told = {}
    for server in servers:
        if server.name == "nginx":
            words = subprocess.run([_program(), "-v"], capture_output=True, text=True, check=False).stderr
            told["nginx"] = words.strip().rsplit("/", 1)[-1]
        else:
            text = (LOCKS / f"{server.name}.lock").read_text()
            told[server.name] = re.search(rf"^{server.name}==(\S+)", text, re.MULTILINE)[1]  # type: ignore[index] # locks name it
    return told


def _program() -> str:
    program = shutil.which("nginx", path=os.defpath + ":/usr/sbin:" + os.environ.get("PATH", ""))
    if program is None:
        raise FileNotFoundError("not installed; `apt-get install nginx`, its service may be off")
    return program


def _nginx() -> Server:
    program = _program()

    def command(port: int, url: str, folder: Path) -> list[str]:
        text = NGINX.replace("PORT", str(port)).replace("TARGET", urlsplit(url).netloc)
        (folder / "nginx.conf").write_text(text)
        return [program, "-p", str(folder), "-e", "error.log", "-c", "nginx.conf"]

    return Server("nginx", command, optional=True)


def _python(name: str, build: bool, say: Callable[[str], None]) -> Path:
    lock, cache = LOCKS / f"{name}.lock", cache_root(os.environ)
    if not build and not is_complete(cache / f"{name}-{fingerprint(lock)}"):
        raise FileNotFoundError("not built yet; `make bench` builds it")
    return environment(lock, cache, say=say)


def _routed(name: str, python: Path) -> Server:
    def router(port: int, url: str, folder: Path) -> list[str]:
        module = f"{name.replace('-', '_')}.launch_router"
        quiet = "warning" if name == "vllm-router" else "warn"
        flags = ["--host", "127.0.0.1", "--port", str(port), "--worker-urls", url, "--policy", "round_robin"]
        flags += ["--log-level", quiet, "--prometheus-host", "127.0.0.1", "--prometheus-port", str(free_port())]
        return [str(python), "-m", module, *flags]

    def litellm(port: int, url: str, folder: Path) -> list[str]:
        (folder / "config.yaml").write_text(LITELLM.replace("URL", url))
        # Its list of prices comes with the package; it would fetch a newer one.
        command = [
            "env",
            "LITELLM_LOCAL_MODEL_COST_MAP=True",
            "LITELLM_LOG=ERROR",
            NO_KEY,
            str(python.with_name("litellm")),
        ]
        return [*command, "--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]

    if name == "litellm":
        return Server(name, litellm, starts_in=PATIENT, optional=True)
    return Server(name, router, optional=True)


def free_port() -> int:
    """A port of the loopback address that nobody has."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _chat(name: str, answer: str = "whole", **more: bool) -> Cell:
    suffix = ", stream" if answer == "stream" else ""
    return Cell(name + suffix, name, CHAT, body(answer), answer == "stream", **more)


CELLS = (
    Cell("nginx", "nginx", "/invocations", body("whole")),
    _chat("vllm-router"),
    _chat("sglang-router"),
    _chat("litellm", slow=True),
    Cell("nginx, stream", "nginx", "/invocations", body("stream"), stream=True),
    _chat("vllm-router", "stream"),
    _chat("sglang-router", "stream"),
    _chat("litellm", "stream", slow=True),
)
