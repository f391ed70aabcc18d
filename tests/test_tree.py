"""The shape of the tree: every file has its test, files stay small, names say something."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parent.parent
SHIPPED = ("policies", "backends", "warmers", "deploy", "proxy")

LONGEST_FILE = 400
LONGEST_FUNCTION = 60
SELF_EXPLAINING = 12
"""Lines up to which a good name may be all the documentation that a public class or function needs."""

UNTESTED: dict[str, str] = {
    "proxy/__main__.py": "runs `main` and nothing else; tests/test_wheel.py starts the product both ways",
    "proxy/attempts.py": "the pipeline's other half; test_pipeline.py drives both",
    "proxy/services.py": "a frozen value without behaviour",
    "deploy/engine/convert_smollm2.py": "runs in the engine's environment; the vllm quickstart's test asks its model",
    "deploy/engine/environment.py": "tests/test_environments.py builds, breaks and repairs environments with it",
    **{
        f"proxy/conformance/{name}.py": "checks; test_runner.py runs each against right servers and wrong ones"
        for name in ("answers", "connections", "probe", "refusals", "streams", "tolerance")
    },
}
"""Files without a test file of their own, each with the reason. The list may only get shorter."""

EMPTY_NAMES = {"utils", "util", "common", "core", "helpers", "helper", "managers", "manager", "misc", "lib"}


def files(*tops: str) -> list[PurePosixPath]:
    """Python files below `tops`, relative to the checkout."""
    found = [file for top in tops for file in (ROOT / top).rglob("*.py")]
    return sorted(PurePosixPath(file.relative_to(ROOT)) for file in found)


def parsed(path: PurePosixPath) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def mirror(path: PurePosixPath) -> PurePosixPath | None:
    """Where the tests of a file are; None for an `__init__` that defines nothing."""
    if path.name == "__init__.py":
        defines = any(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in parsed(path).body
        )
        return PurePosixPath("tests", *path.parts[:-2], f"test_{path.parts[-2]}.py") if defines else None
    return PurePosixPath("tests", *path.parts[:-1], f"test_{path.name}")


def test_every_file_has_its_test_file() -> None:
    """The tests mirror the tree, so that a reader finds the tests of a file without a search."""
    wanted = {str(path): mirror(path) for path in files(*SHIPPED)}
    missing = [f"{path} -> {test}" for path, test in wanted.items() if test and not (ROOT / test).exists()]
    assert [each for each in missing if each.split(" ")[0] not in UNTESTED] == []


def test_exceptions_are_still_exceptions() -> None:
    """A file that got its test, or went, leaves the list of exceptions."""
    wanted = {str(path): mirror(path) for path in files(*SHIPPED)}
    outdated = [path for path in UNTESTED if path not in wanted or ((test := wanted[path]) and (ROOT / test).exists())]
    assert outdated == []


@pytest.mark.parametrize("path", files(*SHIPPED, "tests", "benchmarks"), ids=str)
def test_file_is_small_and_says_what_it_is_for(path: PurePosixPath) -> None:
    """A file has at most 400 lines and opens with its docstring; a function has at most 60."""
    text = (ROOT / path).read_text()
    tree = ast.parse(text)
    assert text.count("\n") <= LONGEST_FILE
    assert ast.get_docstring(tree) or not tree.body
    long = [f"{node.name}: {node.end_lineno - node.lineno + 1}" for node in functions(tree) if node.end_lineno]
    assert [each for each in long if int(each.split(" ")[1]) > LONGEST_FUNCTION] == []


@pytest.mark.parametrize("path", files("tests"), ids=str)
def test_every_test_says_what_behaviour_it_holds(path: PurePosixPath) -> None:
    """A test function has a docstring: the behaviour in a sentence, not the mechanics."""
    tests = [
        node for node in functions(parsed(path)) if node.name.startswith("test_") and path.name.startswith("test_")
    ]
    assert [node.name for node in tests if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("path", files(*SHIPPED), ids=str)
def test_public_names_are_documented_and_private_ones_stay_home(path: PurePosixPath) -> None:
    """A public class or function that a name can't explain has a docstring; private names are not imported."""
    tree = parsed(path)
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    public = [node for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]
    long = [node for node in public if (node.end_lineno or 0) - node.lineno >= SELF_EXPLAINING]
    assert [node.name for node in long if not ast.get_docstring(node)] == []
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module != "__future__"]
    own = [node for node in imports if node.level or (node.module or "").split(".")[0] in SHIPPED]
    assert [alias.name for node in own for alias in node.names if alias.name.startswith("_")] == []


@pytest.mark.parametrize("path", [path for path in files(*SHIPPED) if path.name == "__init__.py"], ids=str)
def test_exports_exist_and_are_sorted(path: PurePosixPath) -> None:
    """What `__all__` names is there, once, in order; what a package re-exports is in its `__all__`."""
    module = importlib.import_module(".".join(path.parent.parts))
    exported = list(getattr(module, "__all__", []))
    assert [name for name in exported if not hasattr(module, name)] == []
    assert exported == sorted(set(exported), key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    relative = [node for node in parsed(path).body if isinstance(node, ast.ImportFrom) and node.level]
    names = [alias.asname or alias.name for node in relative for alias in node.names]
    assert [name for name in names if name not in exported] == []


def test_no_folder_or_file_has_an_empty_name() -> None:
    """No part of a path is utils, common, core, helpers or managers: a name says what is inside."""
    parts = {part.removesuffix(".py") for path in files(*SHIPPED, "tests", "benchmarks") for part in path.parts}
    assert parts & EMPTY_NAMES == set()
