"""Settings: a flag wins over its variable, a variable over the default, and nonsense names its place."""

from __future__ import annotations

import argparse

import pytest

from proxy.settings import FLAGS, MIB, Settings, SettingsError, add_flags, read


def given(*words: str) -> dict[str, object]:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return vars(parser.parse_args(words))


def test_defaults_are_the_documented_ones() -> None:
    """With a policy alone, everything else is the dataclass's own default."""
    assert read(given("--policy", "p.yaml"), {}) == Settings(policy="p.yaml")


def test_a_flag_wins_over_its_variable_and_that_over_the_default() -> None:
    """The order is the same for every flag."""
    variables = {"POINTSMAN_POLICY": "v.yaml", "POINTSMAN_PORT": "1", "POINTSMAN_ADMIN_PORT": "2"}
    settings = read(given("--port", "3"), variables)
    assert (settings.policy, settings.port, settings.admin_port) == ("v.yaml", 3, 2)


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (("--sample", "5%"), "sample", 0.05),
        (("--sample", "0.5"), "sample", 0.5),
        (("--body-limit", "0.5"), "body_limit", MIB // 2),
        (("--otel", "http://127.0.0.1:4318"), "otel", "http://127.0.0.1:4318"),
        (("--drain", "2.5"), "drain", 2.5),
    ],
)
def test_values_are_read_in_their_units(words: tuple[str, ...], field: str, value: object) -> None:
    """Shares, MiB and seconds come out as fractions, bytes and seconds."""
    assert getattr(read(given("--policy", "p", *words), {}), field) == value


@pytest.mark.parametrize(
    "words",
    [
        ("--port", "http"),
        ("--port", "70000"),
        ("--sample", "2"),
        ("--body-limit", "0"),
        ("--otel", "yes"),
        ("--drain", "-1"),
    ],
)
def test_nonsense_names_the_flag(words: tuple[str, ...]) -> None:
    """The message says which flag and what it is for."""
    with pytest.raises(SettingsError, match=f"{words[0]} can't be"):
        read(given("--policy", "p", *words), {})


def test_nonsense_in_the_environment_names_the_variable() -> None:
    """So that it is looked for in the right place."""
    with pytest.raises(SettingsError, match="POINTSMAN_PORT can't be 'x'"):
        read(given("--policy", "p"), {"POINTSMAN_PORT": "x"})
    with pytest.raises(SettingsError, match="POINTSMAN_NO_AUTH can't be 'maybe'"):
        read(given("--policy", "p"), {"POINTSMAN_NO_AUTH": "maybe"})


def test_a_missing_policy_says_how_to_name_one() -> None:
    """There is no default policy."""
    with pytest.raises(SettingsError, match="--policy FILE"):
        read(given(), {})


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "::"])
def test_an_open_door_is_refused_unless_asked_for(host: str) -> None:
    """Callers can't be authenticated, so an address that others reach needs --no-auth."""
    with pytest.raises(SettingsError, match="--no-auth"):
        read(given("--policy", "p", "--host", host), {})
    assert read(given("--policy", "p", "--host", host, "--no-auth"), {}).auth is False
    assert read(given("--policy", "p", "--host", host), {"POINTSMAN_NO_AUTH": "1"}).auth is False


def test_every_flag_is_a_setting() -> None:
    """No flag is read and then forgotten."""
    fields = set(Settings.__dataclass_fields__)
    assert {flag.name.replace("-", "_") for flag in FLAGS} | {"auth"} == fields
