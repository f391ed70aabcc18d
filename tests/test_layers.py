"""The one-way street: `proxy -> deploy, warmers -> backends -> policies -> pydantic, YAML, stdlib`.

Imports are read from the syntax tree, so that one inside a function or under TYPE_CHECKING counts as well.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parent.parent

MAY_IMPORT = {
    "policies": {"policies"},
    "backends": {"backends", "policies"},
    "warmers": {"warmers", "backends", "policies"},
    "deploy": {"deploy", "backends", "policies"},
    "proxy": {"proxy", "deploy", "warmers", "backends", "policies"},
}
"""Package -> the packages of ours that it may import."""

NEVER = {"tests", "benchmarks", "docs", "examples", "model"}

ONLY_IN = {
    "boto3": ("backends/aws.py", "backends/bucket.py", "backends/control.py", "backends/emulator/"),
    "botocore": (
        *("backends/aws.py", "backends/bucket.py", "backends/control.py", "backends/objects.py", "backends/emulator/"),
    ),
    "httptools": ("backends/http/connection.py",),
    "aiohttp": ("backends/http/edge.py", "backends/http/inbound.py", "backends/http/exchange.py", "backends/emulator/"),
    "opentelemetry.sdk": ("proxy/telemetry.py",),
    "opentelemetry.exporter": ("proxy/telemetry.py",),
}
"""Module -> the only places that may import it, or a part of it."""

PURE = ("policies/", "backends/wire/")
POLICIES_THIRD_PARTY = {"pydantic", "pydantic_core", "yaml"}
IMPURE = {
    "asyncio", "concurrent", "http", "multiprocessing", "os", "random", "secrets", "select", "signal", "socket",
    "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib.request",
}  # fmt: skip
"""Standard modules that bring a clock, randomness, the environment or I/O."""


def within(module: str, prefix: str) -> bool:
    """`module` is `prefix` or a part of it."""
    return module == prefix or module.startswith(prefix + ".")


def imported(tree: ast.AST, path: PurePosixPath) -> Iterator[tuple[int, str, bool]]:
    """(line, absolute dotted name, written relatively) of every import; `from a import b` gives `a.b`."""
    package = path.parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, False
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}", node.level > 0


def violations(path: PurePosixPath, source: str) -> list[str]:
    """Every broken rule of one file, as `path:line: what`."""
    tree = ast.parse(source)
    own = path.parts[0]
    found = []
    for line, module, relative in imported(tree, path):
        top = module.split(".")[0]
        wrong = [
            (top in NEVER, f"imports {module}, which is no part of the product"),
            (top in MAY_IMPORT and top not in MAY_IMPORT[own], f"imports {module}, against the one-way street"),
            (top == own and not relative, f"imports {module} absolutely; inside a package imports are relative"),
            (
                str(path).startswith("backends/emulator/") and within(module, "backends.wire"),
                f"imports {module}: a stand-in that shares our codecs can agree with them instead of with AWS",
            ),
            (
                own == "policies" and top not in {*MAY_IMPORT, *POLICIES_THIRD_PARTY, *sys.stdlib_module_names},
                f"imports {module}: policies need nothing but pydantic, YAML and the standard library",
            ),
            (
                str(path).startswith(PURE) and any(within(module, impure) for impure in IMPURE),
                f"imports {module}: this part is pure",
            ),
        ]
        for restricted, places in ONLY_IN.items():
            misplaced = within(module, restricted) and not str(path).startswith(places)
            wrong.append((misplaced, f"imports {module}; only {', '.join(places)} may"))
        found += [f"{path}:{line}: {what}" for broken, what in wrong if broken]
    if str(path).startswith(PURE):
        found += [
            f"{path}:{node.lineno}: awaits; this part is pure"
            for node in ast.walk(tree)
            if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith)
        ]
    return found


def sources() -> list[PurePosixPath]:
    """Every Python file that ships, relative to the checkout."""
    files = [file for package in MAY_IMPORT for file in (ROOT / package).rglob("*.py")]
    return sorted(PurePosixPath(file.relative_to(ROOT)) for file in files)


def test_imports_go_one_way() -> None:
    """No file that ships imports something to its left, or something that another file is the only importer of."""
    found = [each for path in sources() for each in violations(path, (ROOT / path).read_text())]
    assert found == []


PLANTED = [
    ("policies/choose.py", "import backends.base", "one-way street"),
    ("policies/choose.py", "def f():\n    from proxy import cli", "one-way street"),
    ("policies/choose.py", "import orjson", "nothing but pydantic"),
    ("policies/choose.py", "from time import monotonic", "pure"),
    ("policies/choose.py", "async def f(): ...", "pure"),
    ("backends/wire/framing.py", "import os", "pure"),
    ("backends/wire/framing.py", "async def f(g):\n    await g", "pure"),
    ("backends/book.py", "from proxy.record import Record", "one-way street"),
    ("backends/book.py", "from backends.base import Call", "relative"),
    ("backends/book.py", "import boto3", "only backends/aws.py"),
    ("backends/endpoint.py", "from aiohttp import ClientSession", "only backends/http/edge.py"),
    ("backends/endpoint.py", "import httptools", "only backends/http/connection.py"),
    ("backends/http/transport.py", "from aiohttp import web", "only backends/http/edge.py"),
    ("backends/emulator/server.py", "from ..wire import sigv4", "agree with them"),
    ("backends/emulator/server.py", "from ..wire.eventstream import encode", "agree with them"),
    ("warmers/runner.py", "import deploy", "one-way street"),
    ("deploy/plan.py", "import warmers.lease", "one-way street"),
    ("proxy/handlers.py", "import model", "no part of the product"),
    ("proxy/pipeline.py", "from tests.standins import running_emulator", "no part of the product"),
    ("proxy/wiring.py", "from opentelemetry.sdk.trace import TracerProvider", "only proxy/telemetry.py"),
]


@pytest.mark.parametrize(("path", "source", "named"), PLANTED, ids=[f"{path}: {text}" for path, text, _ in PLANTED])
def test_planted_violation_is_found(path: str, source: str, named: str) -> None:
    """The test above sees each kind of violation, wherever in a file it stands."""
    found = violations(PurePosixPath(path), source)
    assert any(named in each for each in found), found


ALLOWED = [
    ("policies/choose.py", "import hashlib\nimport yaml\nfrom pydantic import BaseModel\nfrom .table import Route"),
    ("backends/http/edge.py", "from aiohttp import web\nfrom ..base import Headers"),
    ("backends/emulator/server.py", "import botocore.session\nfrom aiohttp import web"),
    ("proxy/cli/serve.py", "import asyncio\nfrom policies.errors import PolicyError\nfrom .. import settings"),
]


@pytest.mark.parametrize(("path", "source"), ALLOWED, ids=[path for path, _ in ALLOWED])
def test_allowed_import_is_no_violation(path: str, source: str) -> None:
    """What the rules allow is not reported, so that the rules stay worth obeying."""
    assert violations(PurePosixPath(path), source) == []


WATCH = """
import importlib, json, os, signal, sys, threading

root, names = sys.argv[1], sys.argv[2:]
sys.path.insert(0, root)
done = []
WATCHED = {"socket.__new__", "subprocess.Popen", "os.putenv", "os.unsetenv", "os.fork", "open"}


def ours(frame):
    # The innermost module body on the stack is the import that acts; what a library does to itself is not our doing.
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    file = frame.f_code.co_filename if frame is not None else ""
    return file.startswith(root) and "site-packages" not in file


def hook(event, arguments):
    if event not in WATCHED or (event == "open" and not set(str(arguments[1] or "r")) & set("wax+")):
        return
    if ours(sys._getframe(1)):
        done.append(event)


sys.addaudithook(hook)
environment, handlers = dict(os.environ), [signal.getsignal(n) for n in signal.valid_signals()]
for name in names:
    importlib.import_module(name)
if threading.active_count() > 1:
    done.append("a thread runs")
if dict(os.environ) != environment:
    done.append("the environment changed")
if [signal.getsignal(n) for n in signal.valid_signals()] != handlers:
    done.append("a signal handler changed")
print(json.dumps(done))
"""


def side_effects(root: Path, names: list[str]) -> list[str]:
    """What importing `names` does besides defining things, in a fresh interpreter."""
    command = [sys.executable, "-B", "-c", WATCH, str(root), *names]
    told = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert told.returncode == 0, told.stderr
    found: list[str] = json.loads(told.stdout)
    return found


@pytest.mark.slow
def test_imports_have_no_side_effects() -> None:
    """Importing every module that ships opens no socket or file, starts nothing and leaves the environment alone."""
    names = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in sources()]
    assert side_effects(ROOT, names) == []


PLANTED_EFFECTS = [
    ("import socket\nkept = socket.socket()", "socket.__new__"),
    ("import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()", "a thread runs"),
    ("import signal\nsignal.signal(signal.SIGUSR1, signal.SIG_IGN)", "a signal handler changed"),
    ("import os\nos.environ['X'] = '1'", "the environment changed"),
    ("def load():\n    return open('made', 'w')\nload()", "open"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("source", "named"), PLANTED_EFFECTS, ids=[named for _, named in PLANTED_EFFECTS])
def test_planted_side_effect_is_found(source: str, named: str, tmp_path: Path) -> None:
    """The test above sees sockets, threads, signal handlers, files and changes of the environment."""
    (tmp_path / "planted.py").write_text(source)
    assert named in side_effects(tmp_path, ["planted"])
