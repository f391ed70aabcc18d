"""What can be told of a customer's file without running it."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.handlers.guest.conventions import DJL, DJL_FORMATTERS, NATIVE, SCRIPT, STANDARDS
from proxy.handlers.inspection import Inspected, inspect_file
from tests.proxy.handlers.customers import write

ROOT = Path(__file__).parents[3]


def seen(folder: Path, source: str) -> Inspected:
    return inspect_file(write(folder, source))


def texts(found: Inspected, *, prevents: bool) -> str:
    return "\n".join(f"{each.name} {each.text}" for each in found.findings if each.prevents is prevents)


@pytest.mark.parametrize(
    ("file", "convention"),
    [
        ("model.py", NATIVE),
        ("examples/handlers/classic/inference.py", SCRIPT),
        ("examples/handlers/djl/model.py", DJL),
        ("examples/handlers/formatters/model.py", STANDARDS),
    ],
)
def test_files_that_ship(file: str, convention: str) -> None:
    """Read without being run they are what loading finds, and nothing is missing."""
    found = inspect_file(ROOT / file)
    assert (found.convention, found.usable, found.missing) == (convention, True, ())


@pytest.mark.parametrize(
    "source",
    [
        "from djl_python.input_parser import input_formatter\n@input_formatter\ndef own(body): ...\n",
        "from djl_python import input_parser\n@input_parser.input_formatter\ndef own(body): ...\n",
        "import djl_python.input_parser as p\n@p.input_formatter\nasync def own(body): ...\n",
        "from djl_python.input_parser import input_formatter as f\n@f\ndef own(body): ...\n",
    ],
)
def test_decorator_is_known_however_it_is_imported(tmp_path: Path, source: str) -> None:
    """Its package decides which convention it is."""
    assert seen(tmp_path, source).convention == DJL_FORMATTERS


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("befor", "before"),
        ("Before", "before"),
        ("After", "after"),
        ("inputfn", "input_fn"),
        ("output_fun", "output_fn"),
        ("handles", "handle"),
    ],
)
def test_name_that_is_almost_a_hook(tmp_path: Path, slip: str, meant: str) -> None:
    """A slip would leave the hook out without a word, so it is asked about, beside a hook that is right as well."""
    for rest in ("", "def during(event): ...\n"):
        found = seen(tmp_path, f"async def {slip}(call): ...\n{rest}")
        assert f"{slip} is not called by anything; did you mean `{meant}`?" in texts(found, prevents=False)


def test_name_that_would_be_refused_is_not_proposed(tmp_path: Path) -> None:
    """`predict` is near `predict_fn`, which has no place here: following the advice would make it worse."""
    assert "did you mean" not in texts(seen(tmp_path, "def before(call): ...\ndef predict(x): ...\n"), prevents=False)


@pytest.mark.parametrize(
    "source",
    [
        "def before(call): return Before(call)\ndef Before(call): ...\n",
        "def before(call): ...\ndef befores(call): ...\nbefores(1)\n",
        "def before(call): ...\ndef template(call): ...\ndef beforehand_of(call): ...\n",
    ],
)
def test_own_parts_are_no_slips(tmp_path: Path, source: str) -> None:
    """What the file uses itself, and what is named otherwise, is not asked about."""
    assert "did you mean" not in texts(seen(tmp_path, source), prevents=False)


def test_names_may_be_assigned_or_imported(tmp_path: Path) -> None:
    """A hook need not be defined where it stands."""
    assert seen(tmp_path, "from hooks import before\n").convention == NATIVE
    assert seen(tmp_path, "input_fn = make()\n").convention == SCRIPT


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("def predict_fn(a, b): ...\n", "predict_fn runs the model itself"),
        ("from djl_python import Output\ndef handle(i): return Output().add_stream_content(1)\n", "cannot stream"),
        ("from vllm import AsyncLLMEngine\ndef handle(i): ...\n", "use vllm.LLM"),
        ("x = 1\n", "defines none of the functions"),
    ],
)
def test_what_would_not_serve(tmp_path: Path, source: str, text: str) -> None:
    """Found before the first request meets it, with what to do."""
    found = seen(tmp_path, source)
    assert not found.usable
    assert text in texts(found, prevents=True)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("import torch\ndef handle(i): ...\n", "torch is imported; if it loads the model"),
        ("import sagemaker_inference\ndef input_fn(a, b): ...\n", "is not there unless requirements.txt brings it"),
        ("def after(reply): ...\n", "sees whole answers only"),
        ("def handle(i): ...\n", "answers a streaming client in one piece"),
    ],
)
def test_what_is_worth_knowing(tmp_path: Path, source: str, text: str) -> None:
    """Notes keep nothing from serving."""
    found = seen(tmp_path, source)
    assert found.usable
    assert text in texts(found, prevents=False)


def test_packages_that_nothing_provides(tmp_path: Path) -> None:
    """Not the standard library, siblings, stand-ins, what requirements.txt lists, or what may be absent."""
    source = """
    import json, numpy, sibling, folder.part, listed_one, vllm
    from listed.two import x
    from missing_one import y
    from . import z
    try:
        import optional
    except ImportError:
        optional = None
    def before(call):
        import missing_two
    """
    write(tmp_path, "", "sibling.py")
    (tmp_path / "folder").mkdir()
    requirements = "# comment\n\nnumpy==2.0\nlisted-one>=1,<2\nlisted[extra]; python_version > '3'\n"
    (tmp_path / "requirements.txt").write_text(requirements)
    assert seen(tmp_path, source).missing == ("missing_one", "missing_two")


def test_file_that_is_no_python(tmp_path: Path) -> None:
    """The caller is told by exception."""
    with pytest.raises(SyntaxError):
        seen(tmp_path, "def (:\n")
