"""`pointsman check`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.cli import main

QUICKSTART = str(Path(__file__).parents[3] / "examples" / "quickstart" / "policy.yaml")
CLEAN = """\
apiVersion: pointsman/v1
account: "123456789012"
targets: {a: {kind: endpoint, endpoint: a, region: us-east-1, url: "${URL:-http://127.0.0.1:9080}"}}
endpoints: {x: {serve_from: a}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(CLEAN)
    return path


def test_policy_without_findings(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that says so, with the digest under which the proxy will show the policy."""
    assert main(["check", str(file)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{file}: ok: 1 endpoint, 1 target, 0 errors, 0 warnings; policy ")
    assert main(["check", "--strict", str(file)]) == 0


def test_warnings_are_findings_only_when_strict(capsys: pytest.CaptureFixture[str]) -> None:
    """The quickstart works, and is told what a Bedrock import lacks; a pipeline may insist."""
    assert main(["check", QUICKSTART]) == 0
    out = capsys.readouterr().out
    assert "targets.apexguru-import.kind: warning: a bedrock target has nothing for sessions" in out
    assert "4 endpoints, 4 targets, 0 errors, 2 warnings" in out
    assert main(["check", "--strict", QUICKSTART]) == 1


def test_errors_are_listed_and_counted(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each error on a line of its own, then how many there are."""
    file.write_text(CLEAN.replace("serve_from: a", "serve_from: b, tmeout: 1s"))
    assert main(["check", str(file)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{file}:4: endpoints.x.serve_from: no target is called `b`; known here: a",
        f"{file}:4: endpoints.x.tmeout: unknown key; did you mean `timeout`?",
        f"{file}: refused: 2 errors, 0 warnings",
    ]


def test_environment_of_the_process_counts(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`${VAR}` is read from the environment that the command runs in."""
    monkeypatch.setenv("URL", "http://127.0.0.1:8080")
    assert main(["check", str(file)]) == 1
    assert "targets.a.url: is this proxy itself (127.0.0.1:8080)" in capsys.readouterr().out


@pytest.mark.parametrize("listen", ["127.0.0.1:9080", "0.0.0.0:9080", "[::1]:9080", "localhost:9080"])
def test_loop_to_where_the_proxy_will_listen(listen: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A target at the proxy's own address is an error."""
    assert main(["check", "--listen", "10.0.0.1:1", "--listen", listen, str(file)]) == 1
    assert "requests would go round" in capsys.readouterr().out


@pytest.mark.parametrize("listen", ["9080", ":9080", "host:", "host:x", "host:0", "host:65536"])
def test_listen_is_host_and_port(listen: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no address is wrong usage."""
    assert main(["check", "--listen", listen, str(file)]) == 2
    assert "HOST:PORT" in capsys.readouterr().err


def test_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A program reads the same facts."""
    assert main(["check", "--json", str(file)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["problems"]) == (True, [])
    assert len(told["digest"]) == 12
    file.write_text(CLEAN.replace("serve_from: a", "serve_from: b"))
    assert main(["check", "--json", str(file)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["digest"]) == (False, None)
    assert told["problems"][0]["path"] == "endpoints.x.serve_from"
    assert told["problems"][0]["line"] == 4


def test_missing_file_cannot_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 and one line, with nothing on standard output."""
    assert main(["check", str(tmp_path / "none.yaml")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("pointsman check: cannot read ")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (None, "is not there; the proxy will not start without it"),
        ("a folder", "can't be read (Is a directory); the proxy will not start without it"),
        ("def (:\n", "is not Python"),
        ("def predict_fn(a, b): ...\n", "predict_fn runs the model itself"),
        ("def before(call): ...\n", ""),
    ],
)
def test_handlers_that_would_not_serve(
    source: str | None, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A handler's file is read, beside the policy and not run: what is wrong with it is a warning at its line."""
    file = tmp_path / "policy.yaml"
    target = "{kind: endpoint, endpoint: a, region: us-east-1}"
    handler = "{serve_from: a, handler: {path: own/model.py}}"
    file.write_text(
        f'apiVersion: pointsman/v1\naccount: "123456789012"\ntargets:\n  a: {target}\nendpoints:\n  x: {handler}\n'
    )
    (tmp_path / "own").mkdir()
    if source == "a folder":
        (tmp_path / "own" / "model.py").mkdir()
    elif source is not None:
        (tmp_path / "own" / "model.py").write_text(source)
    assert main(["check", str(file)]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if ":6: endpoints.x.handler: warning" in line]
    assert bool(told) == bool(text)
    assert text in "".join(told)
