"""The cache of environments: complete or absent, built once, named after its lock."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.environments import COMPLETE, NAMES, EnvironmentFailedError, environment, fingerprint, lock_of

pytestmark = pytest.mark.slow

EMPTY = "# nothing beyond Python\n"


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    """A folder with one lock, `bare`, that needs no registry."""
    folder = tmp_path / "locks"
    folder.mkdir()
    (folder / "bare.lock").write_text(EMPTY)
    return folder


def test_environment_is_a_python_of_its_own(locks: Path, tmp_path: Path) -> None:
    """The python that is returned runs, and its packages are not the test runner's."""
    python = environment("bare", locks=locks, cache=tmp_path / "cache")
    code = "import sys, importlib.util as u; print(sys.prefix, u.find_spec('pytest'))"
    told = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == [str(python.parent.parent), "None"]


def test_second_use_builds_nothing(locks: Path, tmp_path: Path) -> None:
    """What is complete is used as it is, without a word."""
    environment("bare", locks=locks, cache=tmp_path / "cache")
    said: list[str] = []
    environment("bare", locks=locks, cache=tmp_path / "cache", say=said.append)
    assert said == []


def test_half_built_environment_is_removed_and_built_again(locks: Path, tmp_path: Path) -> None:
    """A folder without the marker of completeness, as an interrupted builder leaves it, is not trusted in any part."""
    folder = tmp_path / "cache" / f"bare-{fingerprint(locks / 'bare.lock')}"
    folder.mkdir(parents=True)
    (folder / "leftover").write_text("from a builder that was killed")
    python = environment("bare", locks=locks, cache=tmp_path / "cache")
    assert python.exists()
    assert (folder / COMPLETE).exists()
    assert not (folder / "leftover").exists()


def test_builders_at_the_same_time_build_once(locks: Path, tmp_path: Path) -> None:
    """Three builders that start together build one environment, and all three get it."""
    said: list[str] = []
    with ThreadPoolExecutor(3) as pool:
        builds = [
            pool.submit(environment, "bare", locks=locks, cache=tmp_path / "cache", say=said.append) for _ in range(3)
        ]
    assert len({build.result() for build in builds}) == 1
    assert len([line for line in said if "building" in line]) == 1


def test_changed_lock_is_another_environment(locks: Path, tmp_path: Path) -> None:
    """Editing a lock never changes an environment that another checkout uses."""
    first = environment("bare", locks=locks, cache=tmp_path / "cache")
    (locks / "bare.lock").write_text(EMPTY + "# changed\n")
    second = environment("bare", locks=locks, cache=tmp_path / "cache")
    assert first != second
    assert first.exists()


def test_missing_lock_names_the_locks_there_are(locks: Path, tmp_path: Path) -> None:
    """A wrong name is an error that says which names are right."""
    with pytest.raises(EnvironmentFailedError, match=r"no lock .*nope\.lock; there are: bare"):
        environment("nope", locks=locks, cache=tmp_path / "cache")


def test_failed_install_leaves_no_environment(locks: Path, tmp_path: Path) -> None:
    """A package without a hash is refused by the installer, its words are in the error, and nothing counts as built."""
    (locks / "bad.lock").write_text("idna==3.20\n")
    with pytest.raises(EnvironmentFailedError, match=r"bad\.lock: Hashes are required"):
        environment("bad", locks=locks, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("bad-*/.complete"))


@pytest.mark.parametrize("name", NAMES)
def test_lock_pins_every_package_with_a_hash(name: str) -> None:
    """No lock of the project can install something that its author did not see."""
    text = lock_of(name).read_text().replace("\\\n", "")
    entries = [line for line in text.splitlines() if line[:1].isalnum()]
    assert entries
    assert [line for line in entries if "==" not in line or "--hash=sha256:" not in line] == []


def test_a_build_that_fails_is_tried_once_more(locks: Path, tmp_path: Path) -> None:
    """And no more often; what had failed is said."""
    (locks / "bad.lock").write_text("idna==3.20\n")
    said: list[str] = []
    with pytest.raises(EnvironmentFailedError, match="Hashes are required"):
        environment("bad", locks=locks, cache=tmp_path / "cache", say=said.append)
    assert [line.partition("-")[0] for line in said if "building" in line] == ["building bad", "building bad"]
    assert sum("; once more" in line for line in said) == 1
