"""A software bill of materials out of `requirements.lock`: CycloneDX 1.6 as JSON, without asking anybody.

Strategy: the lock already names every distribution with version, hashes and who needs it, so the bill is the same facts
in another shape. The same lock gives the same bytes: no time, no random serial number. A package that is only there for
development has the scope `excluded`, which is CycloneDX's word for "not at run time".
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PINNED = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_VIA = re.compile(r"^ +# +(?:via +)?(\S.*)$")
OURSELVES = "pointsman"


@dataclass(frozen=True, slots=True)
class Locked:
    """One distribution of the lock."""

    name: str
    version: str
    hashes: tuple[str, ...]
    """SHA-256 of each file that may be installed."""
    via: tuple[str, ...]
    """What needs it: distributions, or `pointsman (pyproject.toml)`, with `:dev` for development."""

    @property
    def purl(self) -> str:
        """The package URL (purl specification, type pypi)."""
        return f"pkg:pypi/{self.name.lower().replace('_', '-')}@{self.version}"


def read_lock(text: str) -> Iterator[Locked]:
    """The distributions of a lock file as uv writes it. Raises ValueError for one without a hash."""
    for block in re.split(r"\n(?=[A-Za-z0-9])", text):
        found = _PINNED.match(block)
        if found is None:
            continue
        hashes = tuple(_HASH.findall(block))
        if not hashes:
            msg = f"{found['name']} has no hash in the lock: run `make lock`"
            raise ValueError(msg)
        via = tuple(match[1] for line in block.splitlines() if (match := _VIA.match(line)) and match[1] != "via")
        yield Locked(found["name"], found["version"], hashes, via)


def run_time(packages: Mapping[str, Locked], direct: frozenset[str]) -> frozenset[str]:
    """Names that are installed with the product: what it declares, and all that those need."""
    needed, before = set(direct), -1
    while len(needed) != before:
        before = len(needed)
        needed |= {name for name, package in packages.items() if needed & set(package.via)}
    return frozenset(needed & packages.keys())


def bill(lock: str, project: Mapping[str, Any]) -> dict[str, Any]:
    """The document. `project` is the table of that name in pyproject.toml."""
    packages = {package.name: package for package in read_lock(lock)}
    declared = frozenset(re.split(r"[^A-Za-z0-9._-]", each)[0].lower() for each in project["dependencies"])
    direct = frozenset(name for name in packages if name.lower() in declared)
    shipped = run_time(packages, direct)
    root = f"pkg:pypi/{OURSELVES}@{project['version']}"
    needs = {name: [each.purl for each in packages.values() if name in each.via] for name in packages}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application", "bom-ref": root, "name": OURSELVES, "version": project["version"], "purl": root,
                "licenses": [{"license": {"id": project["license"]}}],
            }
        },
        "components": [_component(package, package.name in shipped) for package in packages.values()],
        "dependencies": [
            {"ref": root, "dependsOn": [packages[name].purl for name in sorted(direct)]},
            *({"ref": packages[name].purl, "dependsOn": purls} for name, purls in needs.items()),
        ],
    }  # fmt: skip


def _component(package: Locked, shipped: bool) -> dict[str, Any]:
    # A component's `hashes` would be of one file; the lock allows several, a wheel for each platform.
    files = [
        {"type": "distribution", "url": f"https://pypi.org/simple/{package.name.lower()}/",
         "hashes": [{"alg": "SHA-256", "content": each}]}
        for each in package.hashes
    ]  # fmt: skip
    return {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
        "scope": "required" if shipped else "excluded",
        "externalReferences": files,
    }


def main(folder: Path) -> None:
    """Write the bill of the checkout at `folder` to standard output."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    document = bill((folder / "requirements.lock").read_text(encoding="utf-8"), project)
    sys.stdout.write(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main(Path())
