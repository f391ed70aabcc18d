"""The chaos suite: named faults around a proxy in a process of its own, and what each must come to.

`faults.py` says what a fault is and `table.py` lists them all; docs/reliability.md shows that list.
"""
