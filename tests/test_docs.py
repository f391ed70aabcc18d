"""The documents say what the code does: links, commands, flags, variables, dependencies, decisions."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from policies.load import load_policy
from proxy import cli
from proxy.flags import FLAGS

ROOT = Path(__file__).parent.parent
SHIPPED = ("policies", "backends", "warmers", "deploy", "proxy")
PAGES = sorted(
    path
    for path in [
        *ROOT.glob("*.md"),
        *(
            page
            for folder in ("docs", "tests", "benchmarks", "deploy", "examples")
            for page in (ROOT / folder).rglob("*.md")
        ),
    ]
    if ".pytest_cache" not in path.parts
)
CLI = ROOT / "docs" / "cli.md"

COME_WITH = {
    "multidict": "aiohttp",
    "botocore": "boto3",
    "pydantic-core": "pydantic",
    "opentelemetry-api": "opentelemetry-sdk",
    "requests": "opentelemetry-exporter-otlp-proto-http",
}
"""Distributions that are imported though another one, whose calls take or give their types, is the declared one."""


def named(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def anchors(page: Path) -> set[str]:
    """Fragments that headings of a page can be reached by, made as GitHub makes them."""
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ +(.+?) *$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=named(PAGES))
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link names a file that exists, and its fragment a heading of that file."""
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        file, _, fragment = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (fragment and fragment not in anchors(target)):
            dead.append(link)
    assert dead == []


def test_readme_leads_to_every_page() -> None:
    """Whoever begins at README.md finds each page of docs/ there, without a search."""
    linked = {(ROOT / link).resolve() for link in re.findall(r"\]\(([^)#\s]+)", (ROOT / "README.md").read_text())}
    assert [page.name for page in sorted((ROOT / "docs").glob("*.md")) if page not in linked] == []


FRONT = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md")]


@pytest.mark.parametrize("page", FRONT, ids=named(FRONT))
def test_files_that_front_pages_name_exist(page: Path) -> None:
    """A path in backticks is a path in the checkout; a placeholder is written in capitals."""
    words = re.findall(r"`([\w.-]+(?:/[\w.*-]+)+/?)`", page.read_text())
    missing = [word for word in words if not any(ROOT.glob(word.rstrip("/"))) and not re.search("[A-Z]{3}", word)]
    assert missing == []


IN_THE_MAP_AS_FOLDERS = (
    "backends/emulator/",
    "backends/wire/bedrock/",
    "backends/wire/comparison/",
    "backends/wire/dialects/",
    "backends/wire/sagemaker/",
    "deploy/engine/",
    "warmers/shadow/",
    "proxy/cli/",
    "proxy/handlers/",
)
"""What the map shows as one line a folder."""


def test_the_map_shows_every_file() -> None:
    """The tree in docs/architecture.md names each file that ships, and none that is gone."""
    tree = (ROOT / "docs" / "architecture.md").read_text().split("## The tree")[1].split("```")[1]
    shown, folders = set(), [""]
    for indent, name in re.findall(r"^( *)([\w]+(?:/|\.py))(?: |$)", tree, flags=re.MULTILINE):
        folders = [*folders[: len(indent) // 2 + 1], folders[len(indent) // 2] + name]
        shown |= {folders[-1]} if name.endswith(".py") else set()
    files = [file for package in SHIPPED for file in (ROOT / package).rglob("*.py") if not file.name.startswith("__")]
    there = {str(file.relative_to(ROOT)) for file in files}
    assert shown == {path for path in there if not path.startswith(IN_THE_MAP_AS_FOLDERS)}


def command(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"pointsman {name}")
    importlib.import_module(f"proxy.cli.{name.replace('-', '_')}").configure(parser)
    return parser


def sections() -> dict[str, str]:
    """Text of docs/cli.md by command."""
    parts = re.split(r"^## `pointsman ([\w-]+)`.*$", CLI.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_command_is_documented() -> None:
    """docs/cli.md has a section for each command, in the order of `--help`, and for nothing else."""
    assert list(sections()) == list(cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_flag_is_documented(name: str) -> None:
    """A command's section names the flags and arguments that its `--help` has, and no others."""
    helped = command(name).format_help()
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", helped)) - {"--help"}
    assert set(re.findall(r"^\| `(--[a-z][a-z-]*)", sections()[name], flags=re.MULTILINE)) == flags
    arguments = [action.metavar or action.dest for action in command(name)._actions if not action.option_strings]
    assert [each for each in arguments if f"`{str(each).upper()}`" not in sections()[name]] == []


def test_every_variable_is_documented() -> None:
    """Each POINTSMAN_ variable that the code or the flags know stands in docs/cli.md, and no others do."""
    known = {"POINTSMAN_ENV_CACHE", *(flag.variable for flag in FLAGS)}
    for file in (file for package in SHIPPED for file in (ROOT / package).rglob("*.py")):
        known |= set(re.findall(r"POINTSMAN_[A-Z][A-Z_]*[A-Z]", file.read_text()))
    assert set(re.findall(r"POINTSMAN_[A-Z][A-Z_]*[A-Z]", CLI.read_text())) == known


def test_every_exit_code_is_documented() -> None:
    """docs/cli.md has a row for each exit code, and for the end by Ctrl-C."""
    codes = {cli.EXIT_OK, cli.EXIT_FINDINGS, cli.EXIT_CANNOT_START, cli.EXIT_REFUSED, 130}
    assert {int(code) for code in re.findall(r"^\| `(\d+)` \|", CLI.read_text(), flags=re.MULTILINE)} == codes


EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))
POLICIES = [path for path in EXAMPLES if "apiVersion: pointsman/v1" in path.read_text()]


@pytest.mark.parametrize("path", POLICIES, ids=named(POLICIES))
def test_example_policies_load(path: Path) -> None:
    """An example is a policy that can be used as it stands, with no variable set."""
    assert load_policy(path.read_text(), {}, str(path)).routes


README_POLICY = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("text", README_POLICY)
def test_policies_in_the_readme_load(text: str) -> None:
    """A policy that the README shows can be pasted into a file and used."""
    assert load_policy(text, {}, "README.md").routes


def test_readme_shows_a_policy() -> None:
    """There is one to try; without it the test above would hold nothing."""
    assert len(README_POLICY) == 1


def requirement(text: str) -> str:
    return re.split(r"[<>=!;\[ ]", text)[0].lower()


def documented(heading: str) -> list[str]:
    text = (ROOT / "docs" / "dependencies.md").read_text().split(f"## {heading}")[1].split("\n## ")[0]
    return [name.lower() for name in re.findall(r"^\| `([\w.-]+)` \|", text, flags=re.MULTILINE)]


def test_every_dependency_is_explained() -> None:
    """docs/dependencies.md lists what pyproject.toml lists, in its order, and nothing else."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert documented("At run time") == [requirement(each) for each in project["project"]["dependencies"]]
    assert documented("For development") == [requirement(each) for each in project["dependency-groups"]["dev"]]


def test_every_dependency_is_imported_and_every_import_is_one() -> None:
    """What ships imports the declared distributions, all of them, and no other."""
    tops: set[str] = set()
    for file in (file for package in SHIPPED for file in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                tops |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                tops.add(node.module)
    foreign = {top for top in tops if top.split(".")[0] not in {*sys.stdlib_module_names, *SHIPPED}}
    used = {distribution_of(module) for module in foreign}
    declared = set(documented("At run time"))
    assert {COME_WITH.get(each, each) for each in used} == declared


def distribution_of(module: str) -> str:
    """The distribution that provides a module; for OpenTelemetry's shared namespace the names tell."""
    if module.startswith("opentelemetry."):
        if module.startswith(("opentelemetry.exporter", "opentelemetry.proto.")):
            return "opentelemetry-exporter-otlp-proto-http"
        return "opentelemetry-sdk" if module.startswith("opentelemetry.sdk") else "opentelemetry-api"
    return packages_distributions()[module.split(".")[0]][0].lower().replace("_", "-")


def test_decisions_are_numbered_and_listed() -> None:
    """docs/decisions holds 0001, 0002, ... without a gap; each has its state and reasons, and its line in the index."""
    pages = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    for page in pages:
        text = page.read_text()
        assert text.startswith(f"# {page.name[:4]}: ")
        assert [part for part in ("State: accepted", "## Why", "## What it costs") if part not in text] == []
        assert f"]({page.name})" in index


def test_contributing_names_only_commands_that_ci_runs() -> None:
    """Each command of CONTRIBUTING.md is a target that .ci/run reaches, or .ci/run itself."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    commands = [
        line.split("#")[0].strip()
        for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
        for line in block.splitlines()
    ]
    script, makefile = (ROOT / ".ci" / "run").read_text(), (ROOT / "Makefile").read_text()
    # Parts of what CI runs, or what its tests start.
    local_only = {"make format", "make test-fast", "make run", "make coverage"}
    known = {".ci/run", *re.findall(r"make [a-z-]+", script), *local_only}
    assert [each for each in commands if each and each not in known] == []
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    assert [each for each in known if each.startswith("make ") and each.split()[1] not in targets] == []


def test_version_has_its_place_in_the_changelog() -> None:
    """The version of pyproject.toml heads a section of CHANGELOG.md, or is still to be released."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(rf"^## (\[)?{re.escape(version)}", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)


def test_proofs_of_reliability_exist() -> None:
    """Each row of the table of promises names a test that is there."""
    text = (ROOT / "docs" / "reliability.md").read_text().partition("## Proofs")[2].partition("\n## ")[0]
    rows = re.findall(r"`(tests/\S+)::(test_\w+)`", text)
    assert rows
    missing = [f"{file}::{name}" for file, name in rows if f"def {name}(" not in (ROOT / file).read_text()]
    assert missing == []
