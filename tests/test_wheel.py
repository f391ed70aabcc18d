"""The built wheel, installed into fresh environments and used from outside the checkout: with the dependencies that are
locked, and with the oldest that pyproject.toml allows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.checkout import ROOT, Program, ended, started, variables
from tests.environments import environment
from tests.standins import ACCESS_KEY_ID, SECRET_ACCESS_KEY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

OLDEST = ROOT / "tests" / "oldest.lock"
TOP_LEVEL = ("proxy", "backends", "policies", "warmers", "deploy")


def needed() -> set[str]:
    """Names of the distributions that the product needs at run time, with what those need, on this machine."""
    found: set[str] = set()
    waiting = ["pointsman"]
    while waiting:
        for text in requires(waiting.pop()) or []:
            wanted = Requirement(text)
            name = canonicalize_name(wanted.name)
            if name not in found and (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
                found.add(name)
                waiting.append(name)
    return found


def runtime_lock() -> str:
    """The part of requirements.lock that the wheel needs, hashes included."""
    entries = re.split(r"\n(?=\w)", (ROOT / "requirements.lock").read_text())
    names = needed()
    return "\n".join(entry for entry in entries if canonicalize_name(entry.split("==")[0].strip()) in names) + "\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = ended(command, folder, 120)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module", params=["locked", "oldest"])
def python(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the wheel; its dependencies come from the cache."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "wheel.lock").write_text(runtime_lock() if request.param == "locked" else OLDEST.read_text())
    cached = environment("wheel", locks=folder)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    installed = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(installed), "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--disable-pip-version-check", wheel], check=True)
    # A line in a .pth file puts the cached, read-only dependencies beside the wheel without copying them.
    site = next((folder / "venv" / "lib").glob("python*/site-packages"))
    (site / "locked.pth").write_text(f"{next((cached.parent.parent / 'lib').glob('python*/site-packages'))}\n")
    return installed


def code(python: Path, folder: Path, program: str, **more: str) -> str:
    """What a program prints in the installed environment, from outside the checkout."""
    done = ended([str(python), "-P", "-c", program], folder, more=more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_oldest_are_those_that_are_allowed() -> None:
    """Each direct dependency in the release from which on pyproject.toml allows it; `make lock` writes the file."""
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", OLDEST.read_text(), re.MULTILINE))
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    for wanted in map(Requirement, declared):
        (least,) = (Version(each.version) for each in wanted.specifier if each.operator == ">=")
        assert Version(locked[canonicalize_name(wanted.name)]) == least, wanted.name


def test_version_is_told_by_both_commands(python: Path, tmp_path: Path) -> None:
    """`pointsman --version` and `python -m proxy --version` say the version of pyproject.toml."""
    expected = f"pointsman {version('pointsman')}\n"
    assert ended([str(python.parent / "pointsman"), "--version"], tmp_path).stdout == expected
    assert ended([str(python), "-m", "proxy", "--version"], tmp_path).stdout == expected


@pytest.mark.parametrize("name", TOP_LEVEL)
def test_top_level_name_is_ours_alone(name: str, python: Path, tmp_path: Path) -> None:
    """No dependency provides a package of the same name, and ours is the one that is imported."""
    program = (
        "import importlib, importlib.metadata as m, json, sys;"
        "name = sys.argv[1] if len(sys.argv) > 1 else " + repr(name) + ";"
        "print(json.dumps([sorted(set(m.packages_distributions()[name])), importlib.import_module(name).__file__]))"
    )
    distributions, file = json.loads(code(python, tmp_path, program))
    assert distributions == ["pointsman"]
    assert Path(file).is_relative_to(python.parent.parent)


def test_wheel_holds_the_product_and_nothing_else(python: Path, tmp_path: Path) -> None:
    """Tests, benchmarks and documents stay out of it."""
    program = "import importlib.metadata as m; print(*{f.parts[0] for f in m.files('pointsman')}, sep='\\n')"
    tops = {top for top in code(python, tmp_path, program).split() if not top.endswith(".dist-info") and top != ".."}
    assert tops == set(TOP_LEVEL)


@pytest.fixture(scope="module")
def stand_ins(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of `pointsman emulate` as installed, with its built-in models."""
    folder = tmp_path_factory.mktemp("emulate")
    with started([str(python.parent / "pointsman"), "emulate", "--port", "0"], folder, "Ctrl-C") as program:
        yield re.findall(r"on (http://\S+)", program.said)[0]


@pytest.fixture(scope="module", params=["1", "2"], ids=["alone", "two workers"])
def serving(
    request: pytest.FixtureRequest, python: Path, stand_ins: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    """`pointsman serve` as installed, alone and with two workers, with a copy of the quickstart's policy."""
    folder = tmp_path_factory.mktemp("serve")
    (folder / "policy.yaml").write_bytes((ROOT / "examples/quickstart/policy.yaml").read_bytes())
    command = [str(python.parent / "pointsman"), "serve", "--policy", "policy.yaml", "--port", "0", "--admin-port", "0"]
    command += ["--workers", request.param]
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY}
    with started(command, folder, '"ready"', variables(POINTSMAN_EMULATOR_URL=stand_ins, **keys)) as program:
        yield program


def test_check_accepts_the_policy(python: Path, tmp_path: Path) -> None:
    """`pointsman check` reads a policy far from the checkout."""
    (tmp_path / "policy.yaml").write_bytes((ROOT / "examples/quickstart/policy.yaml").read_bytes())
    done = ended([str(python.parent / "pointsman"), "check", "policy.yaml"], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


CALL = """
import boto3, json
client = boto3.client("sagemaker-runtime")
body = {"messages": [{"role": "user", "content": "What does a pointsman do?"}]}
told = []
for name, component in [("inline", {}), ("codegen-shared", {"InferenceComponentName": "blockgen"}), ("apexguru", {})]:
    request = {"EndpointName": name, "ContentType": "application/json", **component}
    answer = client.invoke_endpoint(**request, Body=json.dumps(body))
    whole = json.loads(answer["Body"].read())["choices"][0]["message"]["content"]
    stream = client.invoke_endpoint_with_response_stream(**request, Body=json.dumps(body | {"stream": True}))
    data = b"".join(event["PayloadPart"]["Bytes"] for event in stream["Body"])
    told.append([answer["ResponseMetadata"]["HTTPHeaders"]["x-pointsman-target"], bool(whole), data[-14:].decode()])
print(json.dumps(told))
"""


def test_installed_product_answers_boto3(python: Path, serving: Program, tmp_path: Path) -> None:
    """A boto3 program with one variable set gets answers and streams from all three kinds of hosting."""
    client = {
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": f"http://127.0.0.1:{json.loads(serving.said)['port']}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
    }
    told = json.loads(code(python, tmp_path, CALL, **client))
    done = "data: [DONE]\n\n"
    assert told == [["inline-gpu", True, done], ["codegen-blockgen", True, done], ["apexguru-import", True, done]]
