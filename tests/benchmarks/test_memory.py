"""The memory of processes, as the kernel counts it."""

from __future__ import annotations

import os

from benchmarks.memory import Taken, as_markdown, read, taken

ROLLUP = """55a0-7ffc ---p 00000000 00:00 0                          [rollup]
Rss:               70000 kB
Pss:               50000 kB
Pss_Dirty:         45000 kB
Private_Clean:      1000 kB
Private_Dirty:     44000 kB
Swap:                  0 kB
"""


def test_the_kernels_page_is_read_in_its_units() -> None:
    """It counts in KiB; we print millions of bytes."""
    assert read(ROLLUP) == Taken(71.7, 51.2, 46.1)
    assert taken(os.getpid()).own > 5


def test_the_table_has_a_row_for_each_look() -> None:
    """Whose, when, and the three counts."""
    text = as_markdown([("engines only", "worker 0", "idle", Taken(70.0, 50.0, 46.0))])
    assert text.splitlines()[-1] == "| engines only | worker 0 | idle | 70.0 | 50.0 | 46.0 |"
