"""`pointsman emulate`."""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli import StartError, main
from proxy.cli.emulate import banner, configure, is_loopback, read_config
from tests.standins import config_of


def run(*words: str) -> int:
    return main(["emulate", *words])


def test_without_a_file_the_quickstarts_models_are_there() -> None:
    """The built-in configuration needs no checkout."""
    assert list(read_config(None).models) == ["inline-gpu", "blockgen", "apexguru-gpu", "apexguru-import"]


def test_a_named_file_is_read(tmp_path: Path) -> None:
    """--config takes another one."""
    file = tmp_path / "e.yaml"
    file.write_text(config_of().model_dump_json(exclude_defaults=True))
    assert read_config(str(file)) == config_of()


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot read"), (b"\xff", "not UTF-8"), (b"apiVersion: x", "e.yaml:1: apiVersion: Input should be")],
)
def test_a_file_that_can_not_be_used_stops_the_start(tmp_path: Path, content: bytes | None, said: str) -> None:
    """The message names the file and what to do; exit code 2."""
    file = tmp_path / "e.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(StartError, match=said):
        read_config(str(file))
    assert run("--config", str(file)) == 2


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_file_is_called_by_the_flag_that_named_it(tmp_path: Path, content: bytes | None) -> None:
    """Other commands take stand-ins by another flag than this one does, and may ask real targets without it."""
    file = tmp_path / "e.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(StartError, match=r"with --stand-ins$"):
        read_config(str(file), "--stand-ins")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "0.0.0.0"], "not a loopback address"),
        (["--host", "example.com"], "not a loopback address"),
        (["--port", "70000"], "not a port"),
    ],
)
def test_an_address_that_is_not_ours_is_refused(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    """Stand-ins never listen beyond this machine."""
    assert run(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_port_in_use_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """It says what to do, and the exit code is 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run("--port", str(taken.getsockname()[1])) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "is in use; stop what listens there or choose another with --port" in line


def test_loopback() -> None:
    """All of 127/8, ::1 and localhost; nothing that has to be looked up."""
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "localhost.example", ""))


def test_the_banner_says_what_it_is_and_how_to_reach_it() -> None:
    """STAND-IN and not AWS, both endpoint variables, the credentials, and each model's address."""
    text = banner(config_of(), "127.0.0.1", 9080)
    for part in (
        "STAND-IN (not AWS)",
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME=http://127.0.0.1:9080",
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME=http://127.0.0.1:9080",
        "AWS_ACCESS_KEY_ID=AKIDEMULATOREXAMPLE",
        "packed: component shared packed, openai-chat",
    ):
        assert part in text
    assert "http://[::1]:1" in banner(config_of(), "::1", 1)


def test_the_parser_has_the_documented_defaults() -> None:
    """Port 9080 on 127.0.0.1, as scripts expect."""
    parser = argparse.ArgumentParser()
    configure(parser)
    assert vars(parser.parse_args([])) == {"config": None, "host": "127.0.0.1", "port": 9080}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_cleanly(number: signal.Signals) -> None:
    """It serves after its banner, and ends with exit code 0 and nothing on stderr."""
    command = [sys.executable, "-m", "proxy", "emulate", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "STAND-IN" in process.stdout.readline()
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
