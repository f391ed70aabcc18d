"""`pointsman quickstart --engine vllm`: real vLLM, a real model, and what it printed pasted into a shell."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkout import READY, ROOT, Program, ended, listening, started, variables
from tests.environments import cache_root

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

COMMAND = [str(Path(sys.executable).parent / "pointsman"), "quickstart", "--engine", "vllm"]
FOLDER = ["--folder", str(ROOT / "examples" / "quickstart-vllm")]
FREE = ["--port", "0", "--admin-port", "0", "--engine-port", "0"]


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The quickstart, ready."""
    folder = tmp_path_factory.mktemp("quickstart-vllm")
    env = variables(POINTSMAN_ENV_CACHE=str(cache_root()))
    # Fetching may take minutes on a fresh machine, longer than a start may: so it is done here, in advance.
    code = "from pathlib import Path; from proxy.cli.quickstart_vllm import installed; installed(Path(%r))"
    assert ended([sys.executable, "-c", code % str(cache_root())], ROOT, 500).returncode == 0
    with started([*COMMAND, *FOLDER, *FREE], folder, READY, env) as program:
        yield program


def pasted(said: str, first: str, last: str) -> str:
    """The printed lines from the one that begins with `first` to the one that ends with `last`."""
    found = re.search(rf"^{first}.*?{last}$", said, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[0]


@pytest.mark.vllm
def test_capital_of_france_in_three_dialects(quickstart: Program, tmp_path: Path) -> None:
    """The printed boto3 program gets Paris as chat, as completion, as TGI, and from the packed endpoint."""
    done = ended(["bash", "-c", pasted(quickstart.said, "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME=", "EOF")], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["OpenAI chat", "OpenAI completions", "TGI", "packed endpoint"]
    assert [line for line in lines if "Paris" not in line] == []


@pytest.mark.vllm
def test_printed_curl_line_streams(quickstart: Program, tmp_path: Path) -> None:
    """It prints the model's events, to the last one."""
    done = ended(["bash", "-c", pasted(quickstart.said, "curl ", "}'")], tmp_path)
    assert " Paris" in done.stdout
    assert done.stdout.endswith("data: [DONE]\n\n")


@pytest.mark.vllm
def test_interrupt_ends_the_engine_too(quickstart: Program) -> None:
    """After Ctrl-C no process of the group is left and every printed port is free."""
    taken = sorted({int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", quickstart.said)})
    assert [listening(port) for port in taken] == [True] * 3
    quickstart.interrupt()
    # A process that has ended and that nobody has waited for yet has no command line.
    assert [line for line in quickstart.left() if line] == []
    assert [listening(port) for port in taken] == [False] * 3


@pytest.mark.parametrize("flag", ["--port", "--admin-port", "--engine-port"])
def test_port_in_use_is_one_line_before_anything_is_fetched(flag: str, tmp_path: Path) -> None:
    """The line names the port and the flag that takes another; exit 2, and the cache is not touched."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        words = [*COMMAND, *FOLDER, *FREE, flag, str(port)]
        done = ended(words, tmp_path, more={"POINTSMAN_ENV_CACHE": str(tmp_path / "cache")})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert f"choose another with {flag}" in done.stderr
    assert not (tmp_path / "cache").exists()


def test_unwritable_cache_is_one_line_after_the_announcement(tmp_path: Path) -> None:
    """Sizes and times are said first; the line names the variable to set; exit 2."""
    (tmp_path / "file").write_text("not a directory")
    done = ended([*COMMAND, *FOLDER, *FREE], tmp_path, more={"POINTSMAN_ENV_CACHE": str(tmp_path / "file" / "cache")})
    assert done.returncode == 2
    assert "585 MB to fetch, 2400 MB on disk" in done.stdout
    assert done.stderr.count("\n") == 1
    assert "POINTSMAN_ENV_CACHE" in done.stderr
