"""A plan in words and as JSON."""

from __future__ import annotations

import json

from proxy.cli.warm_report import as_json, report
from tests.warmers.fleet import QUIET, SPARSE, fleet, gpu, imported, model, terms
from warmers.plan import make_plan


def test_fleet_in_words() -> None:
    """A table a model with the choice marked, what it comes to and why, and the sums last."""
    text = report(make_plan(fleet(), terms(), 297.84), terms(), "policy.yaml")
    lines = text.splitlines()
    assert lines[0].startswith("policy.yaml: USD a month, prices of 2026-07-20 (prices-2026-07.yaml)")
    assert "at most 1% of requests may meet a cold model; decided for an idle limit of 15m" in lines[1]
    assert "mover: 1,080 requests a month, 1 in the busiest minute" in lines
    assert [line for line in lines if line.startswith("  *") and "mover-import  every 14m " in line]
    assert [line for line in lines if line.startswith("   today  mover-gpu")]
    assert any(line.startswith("  -> move to mover-import (every 14m): saves $9") for line in lines)
    assert any("different: at 5m: stay; at 1h: move to mover-import (no warmer)" in line for line in lines)
    assert any("; $1,902 a month are committed" in line for line in lines)
    assert "  -> cannot be told: targets.mystery-gpu serves it and has no `cost`; add one" in lines
    assert "     Not compared, for they have no `cost`: mystery-gpu" in lines
    closing = text[text.index("\nMove (1)") :].splitlines()[1:]
    assert closing[:5:2] == ["Move (1):", "Do not move (1):", "Cannot be told (1):"]
    assert closing[1].startswith("  mover  move to mover-import (every 14m): saves $9")
    assert closing[3].startswith("  keeper  keeper-import (every 14m), the next that is warm enough, costs $1,857")
    assert closing[5] == "  mystery  targets.mystery-gpu serves it and has no `cost`; add one"
    assert closing[6].startswith("Today $3,804 a month, as planned $3,1")
    assert " of which proxies $298: saves $6" in closing[6]
    assert closing[7].startswith("Note: the price of ml.g6e.xlarge for mover-gpu and 1 more is borrowed: ")


def test_an_import_that_should_be_warmed() -> None:
    """It stays, and what warming it costs more is said; so is who shares its hosting."""
    shared = imported("import")
    plan = make_plan([(model("a", shared), SPARSE), (model("b", shared), QUIET)], terms(), 297.84)
    text = report(plan, terms(), "p")
    assert "  -> stay on import (every 14m): costs $3" in text
    assert "of requests meet it cold; this keeps within 1%" in text
    assert "     Today's hosting is charged in even parts with b" in text
    assert "Move (0): none\nDo not move (2):\n  b  stay on import (every 14m): costs $4" in text
    assert "costs $" in text.splitlines()[-1]


def test_json_has_everything() -> None:
    """Verdicts and costs under every idle limit, and what decided."""
    plan = make_plan(fleet(), terms(), 297.84)
    told = json.loads(json.dumps(as_json(plan, terms())))
    assert (told["move"], told["stay"], told["unknown"]) == (["mover"], ["keeper"], ["mystery"])
    assert (told["month"], told["idle_limit"]) == ({"instance_hours": 730, "window_days": 30}, 900)
    mover, keeper, mystery = told["models"]
    assert mover["verdict"] == mover["verdicts"]["15m"]
    assert (mover["verdict"]["target"], mover["verdict"]["how"]) == ("mover-import", "every 14m")
    assert keeper["choices"][0]["committed_usd"] == 1901.94
    assert [choice["today"] for choice in mover["choices"]] == [True, False, False, False, False, False]
    assert mover["choices"][1]["by_idle_limit"]["5m"]["cold_share"] == 0
    assert (mystery["verdict"]["action"], mystery["verdict"]["target"]) == ("unknown", None)
    assert mystery["without_cost"] == ["mystery-gpu"]


def test_small_and_large_shares() -> None:
    """A share is shown with the digits that matter; on instances there is none."""
    plan = make_plan([(model("m", gpu("gpu", "ml.c5.4xlarge"), imported("i")), SPARSE)], terms(), 0.0)
    rows = [
        line for line in report(plan, terms(), "p").splitlines() if line.lstrip("* today").startswith(("i  ", "gpu  "))
    ]
    assert rows[0].split()[-4:] == ["-", "-", "-", "-"]
    assert rows[-1].split()[-3:] == ["100%", "100%", "0%"]
