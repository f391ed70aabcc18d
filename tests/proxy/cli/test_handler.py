"""`pointsman handler check`: what it says of a file, and what it exits with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.cli import main
from tests.proxy.handlers.customers import write

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.parametrize("run", ["inline", "thread", "process"])
def test_reference_handler_is_fine_everywhere(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its hooks are named with their steps, and it is really loaded."""
    assert main(["handler", "check", str(ROOT / "model.py"), "--run", run]) == 0
    out = capsys.readouterr().out
    assert "before   before: gets the call" in out
    assert "loaded   in " in out
    assert out.endswith("model.py: ok\n")


@pytest.mark.slow
def test_file_that_cannot_be_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1, with the customer's own lines and the package that is missing."""
    file = write(tmp_path, "import nothing_of_that_name\ndef before(call): ...\n")
    assert main(["handler", "check", str(file)]) == 1
    out = capsys.readouterr().out
    assert "nothing_of_that_name is imported: put the package that has it in requirements.txt" in out
    assert "refused  " in out
    assert 'model.py", line 1' in out
    assert "would not serve" in out


def test_only_reading_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--no-load` is safe for a file that one does not trust; the document has the same facts."""
    mark = tmp_path / "ran"
    file = write(tmp_path, f"open({str(mark)!r}, 'w')\ndef input_fn(a, b): ...\ndef predict_fn(a, b): ...\n")
    assert main(["handler", "check", str(file), "--no-load", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["convention"], told["load_seconds"]) == (False, "sagemaker-inference", None)
    assert [(each["name"], each["prevents"]) for each in told["findings"]] == [
        ("input_fn", False),
        ("predict_fn", True),
    ]
    assert not mark.exists()


def test_djl_handle_inline_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """It may block, which the proxy's loop must not; the remedy is named."""
    assert main(["handler", "check", str(ROOT / "examples/handlers/djl/model.py"), "--run", "inline"]) == 1
    assert "say run: process" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "text"), [("none.py", "cannot read"), ("broken.py", "is not Python")])
def test_file_that_is_none(tmp_path: Path, name: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 and one line."""
    write(tmp_path, "def (:\n", "broken.py")
    assert main(["handler", "check", str(tmp_path / name)]) == 2
    assert text in capsys.readouterr().err
