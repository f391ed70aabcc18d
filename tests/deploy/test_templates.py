"""Files to start from: what they name is there, what they allow is what the code asks, and what they start serves."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from policies.load import load_policy
from proxy.cli import COMMANDS
from proxy.flags import add_flags
from proxy.settings import read
from tests.checkout import ROOT, ended, started, variables

FOLDER = ROOT / "deploy"
MANIFEST = {
    str(part["kind"]): part for part in yaml.safe_load_all((FOLDER / "kubernetes" / "pointsman.yaml").read_text())
}
POD: dict[str, Any] = MANIFEST["Deployment"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
ENVIRONMENT = {each["name"]: each["value"] for each in CONTAINER["env"]}
POLICY = MANIFEST["ConfigMap"]["data"]["policy.yaml"]


def several(words: str | list[str]) -> list[str]:
    """What IAM lets stand alone or in a list."""
    return [words] if isinstance(words, str) else words


def test_the_manifests_policy_and_variables_are_right() -> None:
    """The policy loads, each variable is one of ours with a value that we take, and the argument is a command."""
    assert load_policy(POLICY, {}).routes
    settings = read({}, ENVIRONMENT, Path("/nonexistent"))
    assert (settings.face, settings.host, settings.auth) == ("all", "0.0.0.0", False)
    assert CONTAINER["args"][0] in COMMANDS
    (port,), (service,) = CONTAINER["ports"], MANIFEST["Service"]["spec"]["ports"]
    assert {settings.port} == {port["containerPort"], service["port"]}


def test_a_pod_is_given_the_time_to_drain() -> None:
    """Kubernetes kills after the grace period, which also counts what happens before SIGTERM."""
    waits = float(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    assert POD["terminationGracePeriodSeconds"] > waits + read({}, ENVIRONMENT, Path("/nonexistent")).drain


def test_what_is_written_has_a_place() -> None:
    """The image's own disk is read-only: home and temporary files, where caches go, are volumes."""
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"]
    places = {mount["mountPath"]: mount["name"] for mount in CONTAINER["volumeMounts"]}
    assert {ENVIRONMENT["HOME"], "/tmp", str(Path(ENVIRONMENT["POINTSMAN_POLICY"]).parent)} == set(places)
    assert set(places.values()) == {volume["name"] for volume in POD["volumes"]}


@pytest.mark.slow
def test_what_the_manifest_starts_is_ready_by_its_own_probes(tmp_path: Path) -> None:
    """Its variables and policy as they stand, on free ports; and each probe's own command succeeds."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    here = {"POINTSMAN_POLICY": str(policy), "POINTSMAN_HOST": "127.0.0.1", "HOME": str(tmp_path)}
    free = {"POINTSMAN_PORT": "0", "POINTSMAN_ADMIN_PORT": "0", "AWS_EC2_METADATA_DISABLED": "true"}
    command = [sys.executable, "-m", "proxy", *CONTAINER["args"]]
    env = variables(**ENVIRONMENT | here | free, PYTHONPATH=str(ROOT))
    with started(command, tmp_path, '"ready"', env) as program:
        port = json.loads(program.said)["admin_port"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            python, *words = CONTAINER[probe]["exec"]["command"]
            assert python == "python"
            done = ended([sys.executable, *(word.replace("8081", str(port)) for word in words)], tmp_path)
            assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_starts_and_ends_a_supervisor() -> None:
    """Its words are ours, systemd is told by whoever is the main process, and a drain ends before it is killed."""
    lines = (FOLDER / "systemd" / "pointsman.service").read_text().splitlines()
    unit = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    _, word, *flags = unit["ExecStart"].split()
    parser = argparse.ArgumentParser()
    add_flags(parser)
    settings = read(vars(parser.parse_args(flags)), {}, Path("/nonexistent"))
    assert word in COMMANDS
    assert settings.workers > 1
    assert float(unit["TimeoutStopSec"]) > settings.drain
    assert (unit["Type"], unit["NotifyAccess"], unit["KillMode"]) == ("notify", "all", "mixed")
    assert unit["Environment"] == f"HOME=/var/cache/{unit['CacheDirectory']}"
    assert int(unit["LimitNOFILE"]) > 2 * settings.connections


def test_the_role_allows_what_the_page_says_and_nothing_everywhere() -> None:
    """Each action of docs/topologies.md is in it and no other, and each is bound to resources with a name."""
    role = json.loads((FOLDER / "aws" / "role.json").read_text())["Statement"]
    actions = {action for statement in role for action in several(statement["Action"])}
    page = (ROOT / "docs" / "topologies.md").read_text().split("**Credentials**")[1].split("**Probes**")[0]
    assert actions == set(re.findall(r"`((?:sagemaker|bedrock|s3|sts):\w+)`", page))
    assert [each["Sid"] for each in role if "*" in several(each["Resource"])] == []
    told = (FOLDER / "README.md").read_text()
    assert [each["Sid"] for each in role if f"`{each['Sid']}`" not in told] == []
