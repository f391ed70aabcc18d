"""The flags of `pointsman serve`: each is a setting, and `--help` says what it is when nobody gives it."""

from __future__ import annotations

import argparse

from proxy.flags import FLAGS, add_flags
from proxy.settings import Settings


def test_every_flag_is_a_setting() -> None:
    """No flag is read and then forgotten."""
    fields = set(Settings.__dataclass_fields__)
    assert {flag.name.replace("-", "_") for flag in FLAGS} | {"auth"} == fields


def test_a_flags_default_is_the_settings_own() -> None:
    """What `--help` says holds."""
    settings = Settings(policy="p")
    told = {flag.name: flag.default for flag in FLAGS if flag.default is not None}
    assert {name: getattr(settings, name.replace("-", "_")) for name in told} == told


def test_help_names_the_variable_and_the_default_in_the_flags_own_unit() -> None:
    """Who reads `--help` need not look anything up: 25 MiB are 25."""
    parser = argparse.ArgumentParser(prog="serve")
    add_flags(parser)
    told = " ".join(parser.format_help().split())
    assert "largest request body in MiB; SageMaker's own limit is 25 (default 25; POINTSMAN_BODY_LIMIT)" in told
    assert "(POINTSMAN_NO_AUTH=1)" in told
    assert all(flag.variable in told for flag in FLAGS)
