"""The bill of materials says what the lock says."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from deploy.sbom import bill, main, read_lock

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HASH = "0" * 64


def test_every_distribution_of_the_lock_is_in_the_bill() -> None:
    """With its version and every hash that may be installed; nothing is made up and nothing is lost."""
    components = bill(LOCK, PROJECT)["components"]
    pinned = re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", LOCK, flags=re.MULTILINE)
    assert [(each["name"], each["version"]) for each in components] == pinned
    assert sum(len(each["externalReferences"]) for each in components) == LOCK.count("--hash=sha256:")


def test_run_time_and_development_are_told_apart() -> None:
    """What the product declares and what that needs is required; linters are not at run time."""
    scopes = {each["name"]: each["scope"] for each in bill(LOCK, PROJECT)["components"]}
    assert {scopes[name] for name in ("aiohttp", "botocore", "multidict", "httptools")} == {"required"}
    assert {scopes[name] for name in ("pytest", "ruff", "mypy")} == {"excluded"}


def test_who_needs_what_is_in_the_bill() -> None:
    """The root needs what is declared; each reference names a component."""
    document = bill(LOCK, PROJECT)
    known = {each["bom-ref"] for each in document["components"]} | {document["metadata"]["component"]["bom-ref"]}
    edges = {each["ref"]: each["dependsOn"] for each in document["dependencies"]}
    assert edges.keys() == known
    assert {target for targets in edges.values() for target in targets} <= known
    boto3 = next(each for each in edges if each.startswith("pkg:pypi/boto3@"))
    assert any(each.startswith("pkg:pypi/botocore@") for each in edges[boto3])
    root = edges[document["metadata"]["component"]["bom-ref"]]
    assert len(root) == len(PROJECT["dependencies"])


def test_a_distribution_without_a_hash_is_refused() -> None:
    """A bill that can't be checked is none."""
    with pytest.raises(ValueError, match="b has no hash"):
        list(read_lock(f"a==1 \\\n    --hash=sha256:{HASH}\nb==2\n"))


def test_the_same_lock_gives_the_same_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    """So that two builds can be compared."""
    main(ROOT)
    first = capsys.readouterr().out
    main(ROOT)
    assert capsys.readouterr().out == first
    assert json.loads(first)["specVersion"] == "1.6"
