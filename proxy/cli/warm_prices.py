"""`pointsman warm prices`: the prices that ship with the product, to copy and correct."""

from __future__ import annotations

import argparse
import sys

from warmers.prices import SHIPPED

from . import EXIT_OK

HELP = "print the dated file of prices that ships with the product, to correct a copy of it"


def configure(parser: argparse.ArgumentParser) -> None:
    """Teach `parser` this action's arguments: none."""


def run(arguments: argparse.Namespace) -> int:
    """Always 0."""
    sys.stdout.write(SHIPPED.read_text(encoding="utf-8"))
    return EXIT_OK
