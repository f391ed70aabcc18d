"""From a file to a program."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from proxy.handlers.guest.conventions import DJL, NATIVE, SCRIPT, STANDARDS
from proxy.handlers.guest.handler import Unusable, load
from proxy.handlers.guest.values import Call
from tests.proxy.handlers.customers import call, settled, write

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize(
    ("file", "convention", "steps"),
    [
        ("model.py", NATIVE, {"before", "during", "after"}),
        ("examples/handlers/classic/inference.py", SCRIPT, {"before", "after"}),
        ("examples/handlers/djl/model.py", DJL, {"before"}),
        ("examples/handlers/formatters/model.py", STANDARDS, {"before", "after"}),
    ],
)
async def test_files_that_ship_are_what_they_say(file: str, convention: str, steps: set[str]) -> None:
    """The reference handler and each example load, and have their steps."""
    loaded = await load(ROOT / file)
    assert loaded.recognised.convention == convention
    assert set(loaded.program.steps) == steps
    loaded.close()
    assert not any(name.startswith("pointsman_handler") for name in sys.modules)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("import nothing_of_that_name\n", "No module named 'nothing_of_that_name'"),
        ("def before(:\n", "SyntaxError"),
        ("raise RuntimeError('weights')\n", "RuntimeError: weights"),
        ("def predict_fn(data, model): ...\ndef input_fn(a, b): ...\n", "predict_fn runs the model itself"),
        ("def model_fn(folder): raise OSError('no labels')\ndef input_fn(a, b): ...\n", "OSError: no labels"),
        ("import sys\nsys.exit('no licence')\n", "SystemExit: no licence"),
        ("def model_fn(folder): exit(2)\ndef input_fn(a, b): ...\n", "SystemExit: 2"),
        ("x = 1\n", "defines none of the functions"),
        ("def before(): ...\n", "before can't be called with"),
    ],
)
async def test_what_cannot_be_used_says_why(tmp_path: Path, source: str, text: str) -> None:
    """The message has the reason and, for code that raises, the customer's own lines; nothing stays loaded."""
    with pytest.raises(Unusable, match=text) as caught:
        await load(write(tmp_path, source))
    raised = not text.startswith(("defines", "predict_fn", "before"))
    assert (str(tmp_path) in str(caught.value)) == raised
    assert not any(name.startswith("pointsman_handler") for name in sys.modules)


async def test_handle_does_not_run_in_the_proxys_loop(tmp_path: Path) -> None:
    """It waits for its model, which the loop must not."""
    with pytest.raises(Unusable, match="say run: process"):
        await load(write(tmp_path, "def handle(inputs): ...\n"), blocking=False)


async def test_decorated_and_imported_hooks_count(tmp_path: Path) -> None:
    """A formatter may come from a sibling; a name that is no function does not count."""
    source = (
        "from djl_python.input_parser import input_formatter\n@input_formatter\ndef own(body): return {'x': body}\n"
    )
    write(tmp_path, source, "sibling.py")
    loaded = await load(write(tmp_path, "from sibling import own\nbefore = 'not a function'\n"))
    given = await settled(loaded.program.before(call(b"1")))
    assert isinstance(given, Call)
    assert given.body == b'{"x":1}'
    loaded.close()


async def test_two_versions_of_a_file_live_side_by_side(tmp_path: Path) -> None:
    """The old version serves its last requests while the new one is there."""
    source = "def before(call): return 'old'\n"
    old = await load(write(tmp_path, source), "1")
    new = await load(write(tmp_path, source.replace("old", "new")), "2")
    assert [(await settled(each.program.before(call()))).body for each in (old, new)] == [b"old", b"new"]
    old.close()
    assert (await settled(new.program.before(call()))).body == b"new"
    new.close()
    shutil.rmtree(tmp_path)
