"""What the pages on handlers, dialects and topologies tell to type, typed: in a fresh checkout, line by line.

Only ports differ, since a test takes free ones. A `# ...` behind a command is what it prints, or the beginning of it
where the comment ends in dots.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from policies.load import load_policy
from tests.checkout import READY, ROOT, Program, ended, started, variables
from tests.test_readme import url

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

TRIED = {"model-py": "make run ARGS='--folder my-handler'", "dialects": "make run ARGS='--folder my-dialect'"}
"""Page -> the line of its first block that serves."""
FREE = "--port 0 --admin-port 0 --emulator-port 0"
SHOWN = "http://127.0.0.1:8080"
LONGEST = 20.0
"""Seconds until a changed handler has to have taken over."""


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / f"{page}.md").read_text()
    return [
        body for name, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if name == language
    ]


@contextlib.contextmanager
def tried(page: str, checkout: Path) -> Iterator[Program]:
    """What the page's first block starts, after everything that it does before."""
    *before, serving = blocks(page, "sh")[0].splitlines()
    assert serving == TRIED[page]
    for line in before:
        done = ended(["bash", "-c", line], checkout)
        assert done.returncode == 0, done.stdout + done.stderr
    with started(["bash", "-c", serving.replace("ARGS='", f"ARGS='{FREE} ")], checkout, READY, variables()) as program:
        yield program


def printed(line: str, expected: str, folder: Path) -> bool:
    """Whether a command prints what the page says, but for white space behind a key's colon."""
    said = ended(["bash", "-c", line], folder).stdout.strip().replace('": ', '":')
    begin = expected.removesuffix("...").strip().replace('": ', '":')
    return said.startswith(begin) if expected.endswith("...") else said == begin


@pytest.mark.parametrize("page", TRIED)
def test_page_can_be_typed(page: str, checkout: Path) -> None:
    """Every command of its two blocks works, and prints what the page says."""
    with tried(page, checkout) as program:
        lines = blocks(page, "sh")[1].splitlines()
        assert len(lines) >= 2
        for line in lines:
            command, _, expected = line.replace(SHOWN, url(program)).partition("  # ")
            if not expected:
                assert ended(["bash", "-c", command], checkout).returncode == 0
                continue
            late = threading.Event()
            bound = threading.Timer(LONGEST, late.set)
            bound.start()
            while not printed(command, expected, checkout):
                assert not late.is_set(), ended(["bash", "-c", command], checkout).stdout
            bound.cancel()
        program.interrupt()


def test_the_container_can_be_tried(quickstart: Program, checkout: Path) -> None:
    """Four terminals: the targets, the container, the platform around it, and a client that knows of neither."""
    serving, platform, client = blocks("topologies", "sh")[2:5]
    found = re.search(r"answer on (http://\S+)\.$", quickstart.said, re.MULTILINE)
    assert found is not None
    command = ["bash", "-c", serving.replace("--port 8085", "--port 0")]
    with started(command, checkout, '"ready"', variables(POINTSMAN_EMULATOR_URL=found[1])) as container:
        port = json.loads(container.said.splitlines()[-1])["port"]
        script = platform.replace("8085", str(port)).replace("--port 9085", "--port 0")
        with started(["bash", "-c", script], checkout, "http://") as around:
            address = re.search(r"http://127\.0\.0\.1:\d+", around.said)
            assert address is not None
            done = ended(["bash", "-c", client.replace("http://127.0.0.1:9085", address[0])], checkout)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.split()) > 3


def test_the_fragment_of_dialects_is_a_policy() -> None:
    """With targets of the names and dialects that it speaks of, and the template that it names."""
    (fragment,) = blocks("dialects", "yaml")
    arn = "arn:aws:bedrock:us-east-1:123456789012:imported-model/apexguru0001"
    targets = {
        "apexguru-vllm": {"kind": "vllm", "url": "http://10.0.0.1:8000", "model": "m", "speaks": "openai-completions"},
        "helper-import": {"kind": "bedrock", "model": arn, "speaks": "bedrock-completion"},
    }
    head = {"apiVersion": "pointsman/v1", "account": "123456789012", "targets": targets}
    table = load_policy(json.dumps(head | yaml.safe_load(fragment)), {}, read_file=lambda _name: "{{ messages }}")
    assert table.endpoints == {"apexguru", "helper"}
    for name, target in targets.items():
        assert re.search(rf"serve_from: {name} +# speaks: {target['speaks']}$", fragment, re.MULTILINE)


def test_the_probe_of_topologies_reads_readyz(quickstart: Program) -> None:
    """The line that Kubernetes would run ends with 0 against the admin port of a proxy."""
    text = (ROOT / "docs" / "topologies.md").read_text()
    (probe,) = re.findall(r'`python -c "(.*?)"`', text)
    found = re.search(r"Metrics: (http://\S+)/metrics", quickstart.said)
    assert found is not None
    code = probe.replace("http://127.0.0.1:8081", found[1])
    done = subprocess.run(["python3", "-c", code], env=os.environ, capture_output=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_handler_can_be_tested_as_the_page_says(checkout: Path) -> None:
    """The program at the end of the page on model.py runs in the checkout."""
    (program,) = blocks("model-py", "python")
    done = ended([str(checkout / ".venv/bin/python"), "-c", program], checkout)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_check_shown_is_what_is_printed(checkout: Path) -> None:
    """The report of `handler check` on the page is the real one, but for the time."""
    shown = next(block for block in blocks("model-py", "") if block.startswith("$ pointsman handler check"))
    command, _, expected = shown.partition("\n")
    done = ended(["bash", "-c", command.replace("$ pointsman", ".venv/bin/pointsman")], checkout)
    assert re.sub(r"\d+\.\d+ s", "T s", done.stdout) == re.sub(r"\d+\.\d+ s", "T s", expected)
