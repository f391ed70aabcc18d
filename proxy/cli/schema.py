"""`pointsman schema`: the policy's JSON Schema, for editors.

`docs/policy.schema.json` is this output. In VS Code with the YAML extension, or any editor with yaml-language-server:
`# yaml-language-server: $schema=./policy.schema.json` as the first line of a policy.
"""

from __future__ import annotations

import argparse
import json

from policies.editor import json_schema

from . import EXIT_OK


def configure(parser: argparse.ArgumentParser) -> None:
    """Nothing to tell it."""


def run(arguments: argparse.Namespace) -> int:
    """Always 0."""
    print(json.dumps(json_schema(), indent=2))
    return EXIT_OK
