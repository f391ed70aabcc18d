"""`pointsman warm plan`."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from proxy.cli import main, warm_plan
from warmers.prices import SHIPPED

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "warm-plan"
POLICY, TRACE = str(EXAMPLE / "policy.yaml"), str(EXAMPLE / "requests.csv")
SMALL = """\
apiVersion: pointsman/v1
account: "123456789012"
targets:
  gpu: {kind: endpoint, endpoint: gpu, region: us-east-1, cost: {instance: ml.g6e.xlarge}}
  import:
    kind: bedrock
    model: arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefghij12
    speaks: openai-chat
    cold: {restore: 60s..2m}
    cost: {units: 1}
endpoints:
  apexguru: {clients_speak: openai-chat, split: {gpu: 1, import: 0}}
"""
DAYS = [f"2026-07-{day:02}T00:{minute:02}Z,apexguru,1" for day in range(6, 13) for minute in (0, 1)]


@pytest.fixture
def small(tmp_path: Path) -> tuple[str, str]:
    """A policy of one model, and a trace with two requests a day of it."""
    policy, trace = tmp_path / "policy.yaml", tmp_path / "trace.csv"
    policy.write_text(SMALL)
    trace.write_text("\n".join(["time,model,requests", *DAYS, "2026-07-12T23:59Z,apexguru,1", ""]))
    return str(policy), str(trace)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """The JSON of a plan that can be made."""
    assert main(["warm", "plan", *arguments, "--json"]) == 0
    plan: dict[str, Any] = json.loads(capsys.readouterr().out)
    return plan


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Why a plan cannot be made."""
    assert main(["warm", "plan", *arguments]) == 2
    return capsys.readouterr().err


def test_example(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The example says which of its five models should move and which should not, in words and as a picture."""
    picture = tmp_path / "plan.svg"
    assert main(["warm", "plan", POLICY, "--trace", TRACE, "--svg", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "\nMove (1):\n  apexguru  move to apexguru-import (every 14m): saves $948" in out
    conclusion = out[out.index("\nDo not move (4):\n") :]
    assert re.findall(r"^  (\w+)  ", conclusion, flags=re.MULTILINE) == ["codegen", "nightly", "summary", "rerank"]
    assert "the next that is warm enough, costs $29,964 a month more than staying" in conclusion
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")


def test_the_page_shows_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The part of the example's plan in docs/warming-economics.md is the program's own."""
    main(["warm", "plan", POLICY, "--trace", TRACE])
    page = (ROOT / "docs" / "warming-economics.md").read_text()
    (shown,) = re.findall(r"```\n(apexguru: .*?)```", page, flags=re.DOTALL)
    assert shown in capsys.readouterr().out


def test_the_page_has_every_flag() -> None:
    """docs/warming-economics.md names the flags that `--help` has, and no others."""
    parser = argparse.ArgumentParser()
    warm_plan.configure(parser)
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", parser.format_help())) - {"--help"}
    page = (ROOT / "docs" / "warming-economics.md").read_text()
    assert set(re.findall(r"^\| `(--[a-z][a-z-]*)", page, flags=re.MULTILINE)) == flags


def test_the_case_of_a_small_model(small: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """$882 for the pings and $298 for the proxies against $1,902 for the GPU."""
    plan = told(capsys, small[0], "--trace", small[1])
    assert (plan["move"], plan["stay"], plan["unknown"]) == (["apexguru"], [], [])
    assert (plan["today_usd"], plan["proxies_usd"]) == (1901.94, 297.84)
    assert plan["planned_usd"] == pytest.approx(884, abs=5)


def test_flags_are_obeyed(small: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Each flag of the reckoning changes it."""
    policy, trace = small
    plan = told(
        capsys, policy, "--trace", trace, "--proxies", "3*ml.m5.large@us-west-2", "--slo-cold-share", "50%",
        "--idle-limit", "20m", "--every", "10m", "--every", "30m", "--hours", "09:00-10:00 Europe/Berlin",
        "--least-saving", "99%", "--map", "*=apexguru", "--starts", "2026-07-07",
    )  # fmt: skip
    assert (plan["proxies_usd"], plan["idle_limit"], plan["cold_share"]) == (251.85, 1200, 0.5)
    (model,) = plan["models"]
    assert [choice["how"] for choice in model["choices"]] == [
        "1 x ml.g6e.xlarge", "always on", "every 10m", "every 30m", "every 10m, 09:00-10:00 Europe/Berlin", "no warmer",
    ]  # fmt: skip
    assert set(model["verdicts"]) == {"5m", "15m", "20m", "1h"}
    assert model["verdict"]["reason"].endswith("less than 99%")


def test_idle_limit_of_the_policy(small: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """What the policy declares decides; what it leaves to be measured is 15 minutes until it was."""
    policy = Path(small[0])
    policy.write_text(SMALL.replace("2m}", "2m, idle_limit: 1h}"))
    assert told(capsys, str(policy), "--trace", small[1])["idle_limit"] == 3600
    policy.write_text(SMALL.replace("2m}", "2m, idle_limit: measured}"))
    assert told(capsys, str(policy), "--trace", small[1])["idle_limit"] == 900


def test_prices_of_ones_own(small: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A corrected copy of the shipped file changes the plan."""
    prices = tmp_path / "prices.yaml"
    prices.write_text(SHIPPED.read_text().replace("usd: 2.6054", "usd: 0.1"))
    plan = told(capsys, small[0], "--trace", small[1], "--prices", str(prices))
    assert (plan["today_usd"], plan["move"]) == (73.0, [])
    assert plan["prices"] == {"date": "2026-07-20", "file": str(prices)}


def test_models_find_their_series(small: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A trace of one series is everyone's; of several it must say whose; an idle model of a whole count had none."""
    one = tmp_path / "azure.csv"
    one.write_text("TIMESTAMP,C,G\n2026-07-06 00:00:00,1,1\n2026-07-06 01:00:00,1,1\n")
    (model,) = told(capsys, small[0], "--trace", str(one))["models"]
    assert model["requests"] == pytest.approx(2 * 720, rel=0.01)
    idle = tmp_path / "idle.csv"
    idle.write_text("time,model,requests\n2026-07-06T00:00Z,b,1\n2026-07-07T00:00Z,b,1\n")
    (model,) = told(capsys, small[0], "--trace", str(idle))["models"]
    assert model["requests"] == 0
    two = tmp_path / "clients.csv"
    rows = ["model,client,t,rate,cv,pat,p1,p2", *(f"m,{number},0,0.1,1,Gamma,1,1" for number in range(10))]
    two.write_text("\n".join(rows))
    said = failure(capsys, small[0], "--trace", str(two))
    assert "the trace has no series apexguru; name one with --map apexguru=SERIES: m/0, m/1" in said
    assert said.endswith("and 2 more\n")
    assert told(capsys, small[0], "--trace", str(two), "--map", "apexguru=m/3")["notes"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--map", "apexguru"], "--map apexguru: give MODEL=SERIES with a series of the trace: apexguru"),
        (["--map", "apexguru=x"], "give MODEL=SERIES"),
        (["--map", "other=apexguru"], "--map other: no such model; the policy has apexguru"),
        (["--idle-limit", "15"], "--idle-limit 15: is not a duration"),
        (["--every", "500ms"], "--every 500ms: is shorter than a second"),
        (["--hours", "always"], "--hours always: is not a calendar"),
        (["--slo-cold-share", "1"], "--slo-cold-share 1: is not a share"),
        (["--least-saving", "many"], "--least-saving many: is not a share"),
        (["--starts", "Monday"], "--starts Monday: Invalid isoformat"),
        (["--prices", "no/such.yaml"], "--prices: cannot read no/such.yaml: No such file"),
        (["--proxies", "two"], "--proxies two is not a number of instances; write it like 2*ml.c5.xlarge"),
        (["--proxies", "2*ml.z1.large"], "has no price of ml.z1.large in us-east-1; add it as instances.us-east-1"),
        (["--proxies", "2*ml.c5.xlarge@mars-1"], "has no price of ml.c5.xlarge in mars-1"),
        (["--svg", "no/such/plan.svg"], "--svg: cannot write no/such/plan.svg"),
    ],
)
def test_cannot_start(
    small: tuple[str, str], arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be used ends the command with one line that says what to do."""
    assert said in failure(capsys, small[0], "--trace", small[1], *arguments)


def test_trace_that_cannot_be_read(small: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """It is named, missing or not."""
    assert "--trace: cannot read no/trace.csv" in failure(capsys, small[0], "--trace", "no/trace.csv")
    assert "is no trace that is known here" in failure(capsys, small[0], "--trace", small[0])


def test_instance_without_a_price(small: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the file of prices, and the place in it."""
    Path(small[0]).write_text(SMALL.replace("ml.g6e.xlarge", "ml.z9.huge"))
    said = failure(capsys, small[0], "--trace", small[1], "--proxies", "none")
    assert f"{SHIPPED.name} has no price of ml.z9.huge in us-east-1; add it as instances.us-east-1.ml.z9.huge" in said


def test_findings(small: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """A model of which nothing can be said is a finding, and so is a policy that is refused."""
    Path(small[0]).write_text(SMALL.replace(", cost: {instance: ml.g6e.xlarge}", ""))
    assert main(["warm", "plan", small[0], "--trace", small[1]]) == 1
    assert "Cannot be told (1):\n  apexguru  targets." in capsys.readouterr().out
    Path(small[0]).write_text(SMALL.replace("units: 1", "units: 0"))
    assert main(["warm", "plan", small[0], "--trace", small[1]]) == 1
    assert "targets.import.cost.units" in capsys.readouterr().err
