"""Half an hour of faults and good traffic at once, and what is left of it: `python -m benchmarks.soak --help`.

`tests/chaos/` says what each fault is and what must come of it; `mix` draws from them, `readings` looks at the proxy's
processes whenever nothing is under way, `report` says what grew.
"""
