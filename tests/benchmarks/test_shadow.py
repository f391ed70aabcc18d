"""`python -m benchmarks.shadow` runs: every endpoint is measured, copies are taken, both files are written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.checkout import ROOT, ended


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_endpoint_is_measured_and_copies_are_taken(tmp_path: Path) -> None:
    """One short round gives percentiles for each share and kind of answer; how large they are, no test says."""
    short = ["--rounds", "1", "--seconds", "0.5", "--rate", "40", "--out", str(tmp_path)]
    done = ended([sys.executable, "-m", "benchmarks.shadow", *short], ROOT, 100)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(next(tmp_path.glob("shadow-*.json")).read_text())
    rows = {(row["shadow"], row["answer"]): row for row in document["rows"]}
    assert rows.keys() == {(side, answer) for side in ("none", "5%", "100%") for answer in ("whole", "stream")}
    assert all(row["requests"] == 20 and row["p50_ms"] <= row["p99_ms"] for row in rows.values())
    assert document["copies"]
    assert next(tmp_path.glob("shadow-*.md")).read_text().startswith("# What copies cost clients")
