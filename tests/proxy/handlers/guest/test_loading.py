"""A customer's folder as a package: siblings, names that clash, tracebacks."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import ModuleType

import pytest

from proxy.handlers.guest.loading import Folder, own_trace
from proxy.handlers.guest.values import InvokeError
from tests.proxy.handlers.customers import write


def folder(file: Path, name: str = "private_a", shims: dict[str, ModuleType] | None = None) -> Folder:
    return Folder(file, name, shims or {})


def test_siblings_of_two_customers_are_two_modules(tmp_path: Path) -> None:
    """Each customer's `utils` is the one beside its file, and nothing of it is left on `sys.path` or for others."""
    path, names = list(sys.path), set(sys.modules)
    folders = []
    for each in ("a", "b"):
        file = write(tmp_path / each, "import utils\nfrom inner.deep import tag\nfound = (utils.who, tag)\n")
        write(tmp_path / each, f"who = '{each}'\n", "utils.py")
        write(tmp_path / each / "inner", "import utils\ntag = utils.who * 2\n", "deep.py")
        write(tmp_path / each / "inner", "", "__init__.py")
        folders.append(folder(file, f"private_{each}"))
    assert [each.load().found for each in folders] == [("a", "aa"), ("b", "bb")]
    assert sys.path == path
    assert "utils" not in sys.modules
    for own in folders:
        own.forget()
    assert {name for name in set(sys.modules) - names if name.startswith("private")} == set()
    assert not any(isinstance(each, Folder) for each in sys.meta_path)


def test_sibling_may_be_imported_when_a_request_comes(tmp_path: Path) -> None:
    """An import within a function finds the sibling after the load as well."""
    write(tmp_path, "value = 7\n", "later.py")
    own = folder(write(tmp_path, "def use():\n    from later import value\n    return value\n"))
    assert own.load().use() == 7
    own.forget()


def test_sibling_wins_over_an_installed_package_and_data_folders_do_not(tmp_path: Path) -> None:
    """A file `orjson.py` is what its neighbour means; a folder `yaml` of data is not a package."""
    write(tmp_path, "mine = True\n", "orjson.py")
    (tmp_path / "yaml").mkdir()
    own = folder(write(tmp_path, "import orjson, yaml\nfound = (orjson.mine, hasattr(yaml, 'safe_load'))\n"))
    assert own.load().found == (True, True)
    own.forget()


def test_relative_imports_and_own_name(tmp_path: Path) -> None:
    """The folder is a package; importing the file itself gives the one module."""
    write(tmp_path, "import model\nname = model.__name__\n", "other.py")
    own = folder(write(tmp_path, "from . import other\n"))
    module = own.load()
    assert module.other.name == module.__name__ == "private_a.model"
    own.forget()


def test_stand_in_is_seen_by_the_customers_files_only(tmp_path: Path) -> None:
    """A module that exists only in another container is there for the file, and for nobody else."""
    top, inner = ModuleType("stood_in"), ModuleType("stood_in.inner")
    inner.value = 3  # type: ignore[attr-defined]  # a module made here
    top.inner = inner  # type: ignore[attr-defined]  # likewise
    shims = {"stood_in": top, "stood_in.inner": inner}
    source = "import stood_in.inner\nfrom stood_in.inner import value\nfound = (stood_in.inner.value, value)\n"
    own = folder(write(tmp_path, source), shims=shims)
    assert own.load().found == (3, 3)
    own.forget()
    assert "stood_in" not in sys.modules
    missing = folder(write(tmp_path, "import stood_in.more\n"), shims=shims)
    with pytest.raises(ModuleNotFoundError, match=r"only stood_in, stood_in\.inner"):
        missing.load()


def test_failed_load_leaves_nothing_behind(tmp_path: Path) -> None:
    """What was imported before the failure is gone, so that the next try starts afresh."""
    write(tmp_path, "", "good.py")
    own = folder(write(tmp_path, "import good\nraise ValueError('no')\n"))
    with pytest.raises(ValueError, match="no"):
        own.load()
    assert not [name for name in sys.modules if name.startswith("private_a")]
    assert own not in sys.meta_path


def test_change_within_a_second_is_seen_and_no_bytecode_is_written(tmp_path: Path) -> None:
    """Two versions of the same size and second are two; a read-only folder would do."""
    for value in (1, 2):
        own = folder(write(tmp_path, f"value = {value}\n"))
        assert own.load().value == value
        own.forget()
    assert not (tmp_path / "__pycache__").exists()


def test_print_goes_to_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output is the request log's."""
    own = folder(write(tmp_path, "print('hello')\nimport sys\nprint('out', file=sys.stdout)\n"))
    own.load()
    own.forget()
    out, err = capsys.readouterr()
    assert (out, err) == ("out\n", "hello\n")


def test_trace_has_the_customers_frames_only(tmp_path: Path) -> None:
    """Causes come along; our frames and the library's do not."""
    source = """
    import json
    def deep(text):
        try:
            return json.loads(text)
        except ValueError as error:
            raise RuntimeError("bad body") from error
    """
    own = folder(write(tmp_path, source))
    module = own.load()
    with pytest.raises(RuntimeError) as caught:
        module.deep("x")
    trace = own_trace(caught.value, tmp_path)
    assert trace.count("model.py") == 2
    assert "and then:" in trace
    assert trace.endswith("RuntimeError: bad body")
    assert "json/decoder.py" not in trace
    assert "test_loading.py" not in trace
    own.forget()


def test_trace_of_a_group_has_what_is_in_it(tmp_path: Path) -> None:
    """A TaskGroup's own words say only how many failed: each that failed is told with its frames."""
    source = """
    import asyncio
    async def ask(part):
        raise LookupError(f"no {part}")
    async def before(call):
        async with asyncio.TaskGroup() as asked:
            asked.create_task(ask("title"))
            asked.create_task(ask("price"))
    """
    own = folder(write(tmp_path, source))
    module = own.load()
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(module.before(None))
    trace = own_trace(caught.value, tmp_path)
    assert "ExceptionGroup: unhandled errors in a TaskGroup (2 sub-exceptions)\nin it:\n" in trace
    assert "LookupError: no title\nin it:\n" in trace
    assert trace.endswith("LookupError: no price")
    assert trace.count("in ask\n") == 2
    assert "taskgroups.py" not in trace
    own.forget()


def test_exception_that_cannot_be_shown_is_named(tmp_path: Path) -> None:
    """As one that has no attributes and no text."""

    class Shut(Exception):
        def __getattribute__(self, name: str) -> object:
            raise RuntimeError(name)

        def __str__(self) -> str:
            raise RuntimeError

    assert own_trace(Shut(), tmp_path).endswith("Shut, which can't be shown")


def test_exception_whose_trace_cannot_be_made_has_its_words(tmp_path: Path) -> None:
    """As one that can't be asked for its attributes: what it says is told without them."""

    class Mute(Exception):
        def __getattribute__(self, name: str) -> object:
            raise RuntimeError(name)

    assert own_trace(Mute("no file is left"), tmp_path).endswith("Mute: no file is left")


def test_syntax_error_names_its_line(tmp_path: Path) -> None:
    """A file that is no Python is told by file and line, without frames."""
    with pytest.raises(SyntaxError) as caught:
        folder(write(tmp_path, "def (:\n")).load()
    assert 'model.py", line 1' in own_trace(caught.value, tmp_path)


def test_trace_of_another_endpoints_failure_begins_at_the_call(tmp_path: Path) -> None:
    """Why the other model did not answer has a log line of its own; what we raised on the way is not the customer's."""
    own = folder(write(tmp_path, "def before(ask):\n    return ask()\n"))
    module = own.load()

    def ask() -> None:
        try:
            raise LookupError("inside the proxy")
        except LookupError as error:
            raise InvokeError(503, "no copy ready") from error

    with pytest.raises(InvokeError) as caught:
        module.before(ask)
    trace = own_trace(caught.value, tmp_path)
    assert trace.count("model.py") == 1
    assert trace.endswith("InvokeError: no copy ready")
    assert "inside the proxy" not in trace
    own.forget()
