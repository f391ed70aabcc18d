"""Migrations as duties: what is seen goes into the shared state, one process decides, every process follows.

The decisions are `policies.migration`'s; here is what reads and writes. Nothing of it is on a request's path but
`witness.py`, which adds to counts.
"""
