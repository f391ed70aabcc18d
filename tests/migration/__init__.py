"""Whole migrations with real processes, real clients and things that go wrong."""
