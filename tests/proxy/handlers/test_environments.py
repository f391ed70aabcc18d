"""Environments for requirements.txt: built once, shared by content, and honest about failures."""

from __future__ import annotations

import logging
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from proxy.handlers.environments import COMPLETE, build, environment_of
from proxy.handlers.errors import LoadError
from tests.proxy.handlers.customers import before, call, loaded, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def wheel(folder: Path, version: str) -> str:
    """A package `customers_tool` that needs no index, as a line of requirements.txt."""
    name = f"customers_tool-{version}-py3-none-any.whl"
    with zipfile.ZipFile(folder / name, "w") as made:
        made.writestr("customers_tool.py", f"version = {version!r}\n")
        info = f"customers_tool-{version}.dist-info"
        made.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: customers-tool\nVersion: {version}\n")
        made.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr(f"{info}/RECORD", "")
    return f"./{name}\n"


def variables() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


async def test_two_handlers_have_two_versions_of_a_package(tmp_path: Path) -> None:
    """Each worker has what its own requirements.txt says, from a wheel beside it, and nothing of ours."""
    source = """
    import importlib.util
    import customers_tool
    def before(call):
        return f"{customers_tool.version} {importlib.util.find_spec('aiohttp') is not None}"
    """
    seen = []
    for version in ("1.0", "2.0"):
        folder = tmp_path / version
        file = write(folder, source)
        (folder / "requirements.txt").write_text(wheel(folder, version))
        async with loaded(file) as run:
            seen.append((await before(run, call())).text())
    assert seen == ["1.0 False", "2.0 False"]


def test_environment_is_built_once_and_said_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The same requirements find the same environment; another text or a half-built folder is built anew."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# nothing\n")
    cache = tmp_path / "cache"
    with caplog.at_level(logging.INFO):
        python = build(requirements, cache, variables())
    assert [record.getMessage().split()[0] for record in caplog.records] == ["building", "the"]
    assert subprocess.run([python, "-c", "import sys; print(sys.prefix)"], check=True, capture_output=True).stdout
    caplog.clear()
    assert build(requirements, cache, variables()) == python
    assert caplog.records == []
    folder = environment_of(requirements, cache)
    (folder / COMPLETE).unlink()
    (folder / "half").touch()
    assert build(requirements, cache, variables()) == python
    assert not (folder / "half").exists()
    requirements.write_text("# something else\n")
    assert environment_of(requirements, cache) != folder


def test_packages_that_cannot_be_had(tmp_path: Path) -> None:
    """The installer's own words are in the error, and nothing counts as built."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("./not-there-1.0-py3-none-any.whl\n")
    with pytest.raises(LoadError, match="not-there") as caught:
        build(requirements, tmp_path / "cache", variables())
    assert "its packages can't be installed" in str(caught.value)
    assert not (environment_of(requirements, tmp_path / "cache") / COMPLETE).exists()


def test_cache_that_cannot_be_written(tmp_path: Path) -> None:
    """The error names the folder, and the variable that chooses another: `handler check` has it, and no such flag."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("\n")
    (tmp_path / "file").touch()
    with pytest.raises(LoadError, match="name another folder in POINTSMAN_HANDLER_CACHE"):
        build(requirements, tmp_path / "file" / "cache", variables())
