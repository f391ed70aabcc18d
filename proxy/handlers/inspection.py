"""What a customer's file is and what becomes of it, read from its text: nothing of it is run.

For `pointsman handler check`, before the file is loaded: what loading refuses is explained here even where a package is
missing, and what loading cannot see (a call that has no stand-in) is found here only.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from .guest.conventions import DJL, HOOKS, MARKS, NAMES, NATIVE, SCRIPT, STANDARDS, Finding, recognise
from .guest.shims import stand_ins

_FORMATTERS = {
    ("djl_python", "input_formatter"): MARKS["djl_input"],
    ("djl_python", "output_formatter"): MARKS["djl_output"],
    ("model_hosting_container_standards", "input_formatter"): MARKS["standards_input"],
    ("model_hosting_container_standards", "output_formatter"): MARKS["standards_output"],
}
"""(package, decorator) -> the name in `conventions`."""

_NO_STAND_IN = {
    "add_stream_content": "cannot stream: let the model stream and change its events with `during(event)`",
    "handle_streaming_response": "cannot stream: let the model stream and change its events with `during(event)`",
    "get_as_numpy": "is DJL's own tensor format: send JSON, or npz and get_as_npz",
    "add_as_numpy": "is DJL's own tensor format: use add_as_npz or add_as_json",
    "AsyncLLMEngine": "runs an engine here: use vllm.LLM, whose generate and chat go to the policy's targets",
}
_CLOSE = 0.8
"""Likeness of two names from which one is taken for a slip of the other: one letter of five."""
_ENGINES = frozenset({"deepspeed", "torch", "tensorrt_llm", "transformers"})


@dataclass(frozen=True, slots=True)
class Inspected:
    """What is known of a file."""

    convention: str | None
    findings: tuple[Finding, ...]
    missing: tuple[str, ...]
    """Packages that it imports and that are neither standard, beside it, stood in for, nor in requirements.txt."""

    @property
    def usable(self) -> bool:
        """Nothing seen so far keeps it from serving."""
        return not any(finding.prevents for finding in self.findings)


def inspect_file(file: Path) -> Inspected:
    """Read `file`. Raises OSError, and SyntaxError or ValueError when it is no Python."""
    tree = ast.parse(file.read_bytes(), filename=str(file))
    imported = dict(_imported(tree))
    recognised = recognise(_names(tree, imported))
    findings = [*recognised.findings, *_near_misses(tree), *_notes(recognised.convention, tree, imported)]
    return Inspected(recognised.convention, tuple(findings), tuple(sorted(_missing(tree, file.parent))))


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(local name, full name) of every import of the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0], alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _names(tree: ast.Module, imported: dict[str, str]) -> set[str]:
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            mark = next(filter(None, (_mark(decorator, imported) for decorator in node.decorator_list)), None)
            found.add(mark or node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
    return {name for name in found if name in NAMES or "@" in name}


def _near_misses(tree: ast.Module) -> Iterator[Finding]:
    """Functions named almost as one that would be called. What the file uses or a decorator takes has its place."""
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    candidates = {_bare(name): name for name in sorted(HOOKS.difference(node.name for node in functions))}
    for name in (node.name for node in functions if not node.decorator_list):
        close = get_close_matches(_bare(name), candidates, 1, cutoff=_CLOSE)
        if close and name not in NAMES and name not in used:
            yield Finding(name, None, f"is not called by anything; did you mean `{candidates[close[0]]}`?")


def _bare(name: str) -> str:
    return name.lower().replace("_", "")


def _mark(decorator: ast.expr, imported: dict[str, str]) -> str | None:
    text = ast.unparse(decorator).partition("(")[0]
    head, _, rest = text.partition(".")
    full = imported.get(head, head) + (f".{rest}" if rest else "")
    return _FORMATTERS.get((full.partition(".")[0], full.rpartition(".")[2]))


def _notes(convention: str | None, tree: ast.Module, imported: dict[str, str]) -> Iterator[Finding]:
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} | {
        full.rpartition(".")[2] for full in imported.values()
    }
    tops = {full.partition(".")[0] for full in imported.values()}
    if convention == DJL or "djl_python" in tops or "vllm" in tops:
        for name in sorted(used & _NO_STAND_IN.keys()):
            yield Finding(name, None, _NO_STAND_IN[name], prevents=True)
    if convention == DJL:
        for name in sorted(tops & _ENGINES):
            text = "is imported; if it loads the model, let the policy's targets do that: djl_python.huggingface, vllm"
            yield Finding(name, None, text)
        yield Finding("handle", None, "answers a streaming client in one piece")
    if convention == SCRIPT and "sagemaker_inference" in tops:
        yield Finding("sagemaker_inference", None, "is not there unless requirements.txt brings it")
    if convention == STANDARDS:
        text = "are not read; the decorators say what runs"
        yield Finding("CUSTOM_PRE_PROCESS, CUSTOM_POST_PROCESS", None, text)
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    if convention == NATIVE and "after" in names and "during" not in names:
        yield Finding("after", None, "sees whole answers only; add `during(event)` if clients stream")


def _missing(tree: ast.Module, folder: Path) -> Iterator[str]:
    """Packages that nothing known provides. Imports inside `try` may be meant to fail."""
    known = {*sys.stdlib_module_names, *(name.partition(".")[0] for name in stand_ins())}
    tried = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.Try) for inner in ast.walk(node)}
    required = _required(folder / "requirements.txt")
    for node in ast.walk(tree):
        if id(node) in tried:
            continue
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules = [node.module]
        for top in {module.partition(".")[0] for module in modules} - known:
            beside = (folder / f"{top}.py").exists() or (folder / top).is_dir()
            if not beside and _plain(top) not in required:
                yield top


def _required(requirements: Path) -> set[str]:
    """Names in requirements.txt, as far as a name can be seen; a package may be called otherwise than its modules."""
    if not requirements.is_file():
        return set()
    lines = requirements.read_text(encoding="utf-8", errors="replace").splitlines()
    heads = (line.partition("#")[0].strip() for line in lines)
    names = (head.replace("==", " ").replace("[", " ").translate(_SEPARATORS).split()[:1] for head in heads if head)
    return {_plain(name) for found in names for name in found}


_SEPARATORS = str.maketrans(dict.fromkeys("<>=!~;@", " "))


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")
