"""`make bench` runs: both processes start, every cell is measured, both files are written, nothing is left."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import hop
from tests.checkout import ROOT, ended


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_bench_measures_every_cell(tmp_path: Path) -> None:
    """One short round gives a figure for each kind, answer and number of connections; how large it is, no test says."""
    command = [sys.executable, "-m", "benchmarks.hop", "--rounds", "1", "--seconds", "0.02", "--out", str(tmp_path)]
    done = ended(command, ROOT, 100)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(next(tmp_path.glob("hop-*.json")).read_text())
    cells = {(cell["kind"], cell["answer"], cell["connections"]) for cell in document["cells"]}
    raw = {(kind, answer, n) for kind in hop.KINDS[:3] for answer in ("whole", "stream") for n in hop.CONNECTIONS}
    assert cells == raw | {("boto3", "whole", 1), ("boto3", "stream", 1)}
    assert all(cell["rounds"][0]["proxied"]["requests"] > 0 for cell in document["cells"])
    assert next(tmp_path.glob("hop-*.md")).read_text().startswith("# The added hop")


def test_answer_that_differs_is_not_timed() -> None:
    """A proxy that answers something else than the target ends the run before anything is measured."""
    with pytest.raises(SystemExit, match="differs from the target's"):
        hop.check("whole", b"{}")
