"""Timed comparisons. Numbers are results with their machine and commit, never assertions."""
