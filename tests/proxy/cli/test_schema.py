"""`pointsman schema`, and the schema and pages that ship with the product."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from policies.complaints import PLANNED
from policies.editor import json_schema
from policies.load import load_policy
from proxy.cli import main

DOCS = Path(__file__).parents[3] / "docs"


SECTIONS = {
    "Policy": "## The whole file",
    "Defaults": "### Under defaults",
    "Retry": "### Under defaults",
    "Hedge": "## Endpoints",
    "Limit": "### Limits",
    "Warm": "### Kept warm",
    "Owner": "## Owners",
    "EndpointTarget": "## Targets",
    "BedrockTarget": "## Targets",
    "VllmTarget": "## Targets",
    "Cold": "### Every target",
    "ImportCost": "### Costs",
    "InstanceCost": "### Costs",
    "Role": "### kind: endpoint",
    "Guardrail": "### kind: bedrock",
    "Endpoint": "## Endpoints",
    "Component": "## Endpoints",
    "Migrate": "### Migrations",
    "Step": "### Migrations",
    "Gates": "### Migrations",
    "Keep": "### Migrations",
    "Approvals": "### Migrations",
    "KeepDifferences": "### Migrations",
    "Redact": "### Migrations",
    "Handler": "### The customer's code",
    "Data": "### The boundary of data",
    "Translate": "### Dialects",
    "Expect": "### Cases",
}
"""Block of the schema -> where docs/policy.md has its keys."""


def section(heading: str) -> str:
    """The text below a heading, as far as the next of its level."""
    page = (DOCS / "policy.md").read_text()
    level = heading.partition(" ")[0]
    text = page.partition(f"\n{heading}\n")[2]
    return re.split(rf"\n#{{2,{len(level)}}} ", text)[0]


def test_output_is_the_file_that_ships(capsys: pytest.CaptureFixture[str]) -> None:
    """`docs/policy.schema.json` is what the command prints; `pointsman schema > docs/policy.schema.json` renews it."""
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == (DOCS / "policy.schema.json").read_text()


@pytest.mark.parametrize("block", ["Policy", *json_schema()["$defs"]])
def test_every_key_is_documented_where_it_belongs(block: str) -> None:
    """A key that docs/policy.md does not name in its block's section is one that nobody finds."""
    schema = json_schema()
    keys = (schema if block == "Policy" else schema["$defs"][block])["properties"]
    text = section(SECTIONS[block])
    assert [key for key in keys if f"`{key}`" not in text] == []


def test_every_key_of_a_later_version_is_documented() -> None:
    """A reader who looks for one finds that it is not offered yet."""
    text = section("## Not offered in this version")
    assert [key for key in sorted(PLANNED) if f"`{key}`" not in text] == []


def test_policies_in_the_page_load() -> None:
    """What the page shows works when it is copied."""
    shown = re.findall(r"```yaml\n(apiVersion.*?)```", (DOCS / "policy.md").read_text(), re.DOTALL)
    assert [sorted(load_policy(text, {}).endpoints) for text in shown] == [["apexguru"]]


def test_schema_that_ships_is_json_of_its_draft() -> None:
    """Editors read the file itself."""
    assert json.loads((DOCS / "policy.schema.json").read_text())["$schema"].endswith("2020-12/schema")
