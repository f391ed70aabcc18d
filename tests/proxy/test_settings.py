"""Settings: a flag wins over its variable, a variable over the default, and nonsense names its place."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from proxy.flags import MIB, add_flags
from proxy.settings import Settings, SettingsError, of_one_worker, read, unusual


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
        (("--busy-poll", "0.02"), "busy_poll", 0.02),
        (("--busy-poll", "0"), "busy_poll", 0.0),
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
        ("--body-limit", "inf"),
        ("--body-budget", "1e308"),
        ("--otel", "yes"),
        ("--drain", "-1"),
        ("--drain", "inf"),
        ("--head-time", "nan"),
        ("--busy-poll", "61"),
        ("--busy-poll", "-1"),
        ("--platform-time", "inf"),
        ("--workers", "0"),
        ("--workers", "65"),
    ],
)
def test_nonsense_names_the_flag(words: tuple[str, ...]) -> None:
    """The message says which flag and what it is for."""
    with pytest.raises(SettingsError, match=f"{words[0]} can't be"):
        read(given("--policy", "p", *words), {})


def test_a_password_is_not_repeated() -> None:
    """What is wrong with an address is told without it: it would stand in the log of a process that did not start."""
    with pytest.raises(SettingsError, match=r"--state can't be 'valkey://\.\.\.@host:port'"):
        read(given("--policy", "p", "--state", "valkey://user:secret@host:port"), {})


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


@pytest.mark.parametrize(
    "words",
    [("--keys", "k"), ("--tls-cert", "c", "--tls-key", "k", "--tls-client-ca", "a")],
    ids=["keys", "certificates"],
)
def test_an_authenticated_door_may_be_open(words: tuple[str, ...]) -> None:
    """Who has a key or a certificate may come from anywhere; TLS alone asks nobody who they are."""
    assert read(given("--policy", "p", "--host", "0.0.0.0", *words), {}).auth is True
    with pytest.raises(SettingsError, match="--no-auth"):
        read(given("--policy", "p", "--host", "0.0.0.0", "--tls-cert", "c", "--tls-key", "k"), {})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--tls-cert", "c"), "come together"),
        (("--tls-key", "k"), "come together"),
        (("--tls-client-ca", "a"), "needs --tls-cert"),
        (("--keys-secret", "s"), "needs --keys"),
        (("--connections", "0"), "--connections can't be"),
    ],
)
def test_half_a_door_is_refused(words: tuple[str, ...], said: str) -> None:
    """What protects nothing without its other half is a mistake, not a setting."""
    with pytest.raises(SettingsError, match=said):
        read(given("--policy", "p", *words), {})


@pytest.mark.parametrize("name", ["keys", "keys-secret", "tls-cert", "tls-key", "tls-client-ca"])
@pytest.mark.parametrize("empty", ["", " "])
def test_a_file_of_the_door_has_a_name(name: str, empty: str) -> None:
    """A variable that nobody filled in is a mistake: it neither opens an address to everybody nor takes a lock away."""
    variable = "POINTSMAN_" + name.upper().replace("-", "_")
    with pytest.raises(SettingsError, match=f"--{name} can't be '{empty}'"):
        read(given("--policy", "p", "--host", "0.0.0.0", f"--{name}", empty), {})
    with pytest.raises(SettingsError, match=f"{variable} can't be '{empty}'"):
        read(given("--policy", "p", "--host", "0.0.0.0"), {variable: empty})


@pytest.mark.parametrize("name", ["policy", "host", "log", "endpoint", "handler-cache", "admin-token"])
def test_a_variable_that_nobody_filled_in_is_named(name: str) -> None:
    """An empty name would be looked for as the folder that the process is in, an empty token would never fit."""
    variable = "POINTSMAN_" + name.upper().replace("-", "_")
    with pytest.raises(SettingsError, match=f"{variable} can't be ''"):
        read({}, {"POINTSMAN_POLICY": "p", variable: ""})


@pytest.mark.parametrize("how", ["variable", "folder", "flag", "own variable"])
def test_a_sagemaker_container_needs_no_flags(how: str, tmp_path: Path) -> None:
    """Told by the platform's variable, its folder or a word: one open port, the artifact's policy, a short drain."""
    folder = tmp_path / "model"
    variables = {"SAGEMAKER_BIND_TO_PORT": "9000"} if how == "variable" else {}
    if how == "folder":
        folder.mkdir()
    if how == "own variable":
        variables = {"POINTSMAN_FACE": "container"}
    settings = read(given(*(("--face", "container") if how == "flag" else ())), variables, folder)
    assert (settings.face, settings.host, settings.drain) == ("container", "0.0.0.0", 25.0)
    assert settings.port == (9000 if how == "variable" else 8080)
    assert settings.policy == str(folder / "policy.yaml")
    assert settings.log == "-"


def test_what_is_said_wins_over_a_containers_defaults(tmp_path: Path) -> None:
    """Every one of them, and the face itself."""
    words = ("--policy", "s3://b/k", "--port", "1", "--drain", "3", "--endpoint", "a/b", "--endpoint-attribute", "m")
    variables = {"SAGEMAKER_BIND_TO_PORT": "9000", "POINTSMAN_HOST": "127.0.0.1"}
    settings = read(given(*words), variables, tmp_path)
    got = (
        settings.policy,
        settings.host,
        settings.port,
        settings.drain,
        settings.endpoint,
        settings.endpoint_attribute,
    )
    assert got == ("s3://b/k", "127.0.0.1", 1, 3.0, "a/b", "m")
    assert read(given("--policy", "p", "--face", "all"), variables, tmp_path).port == 8080


def test_a_folder_elsewhere_is_no_container(tmp_path: Path) -> None:
    """Where neither is there, everything is served on loopback, and a policy has to be named."""
    assert read(given("--policy", "p"), {}, tmp_path / "none") == Settings(policy="p")


@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [
        (("--face", "openai"), {}, "--face can't be 'openai'"),
        (("--endpoint-attribute", "a b"), {}, "--endpoint-attribute can't be"),
        ((), {"SAGEMAKER_BIND_TO_PORT": "http"}, "SAGEMAKER_BIND_TO_PORT can't be 'http'"),
    ],
)
def test_nonsense_about_the_container_names_its_place(
    words: tuple[str, ...], variables: dict[str, str], said: str
) -> None:
    """Flag or variable, ours or SageMaker's."""
    with pytest.raises(SettingsError, match=said):
        read(given("--policy", "p", *words), variables)


def test_a_worker_is_told_what_is_not_as_usual() -> None:
    """It comes to the same settings, and one of a release that does not know some of them is not told these."""
    settings = Settings("policy.yaml", workers=2, log="/dev/null", connections=7)
    told = unusual(settings)
    assert told == {"policy": "policy.yaml", "workers": 2, "log": "/dev/null", "connections": 7}
    assert Settings(**told) == settings


def test_workers_share_what_all_of_them_may_hold() -> None:
    """Bodies in flight and connections are limits of the machine; the admin token is the supervisor's alone."""
    whole = Settings(policy="p", workers=4, connections=10, body_budget=400 * MIB, admin_token="t")
    part = of_one_worker(whole)
    assert (part.connections, part.body_budget, part.admin_token, part.workers) == (2, 100 * MIB, None, 4)


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--body-budget", "49"), "--body-budget .* give 50 MiB"), (("--connections", "1"), "--connections .* give 2")],
)
def test_workers_need_a_share_that_one_can_serve_with(words: tuple[str, ...], said: str) -> None:
    """A share that holds no whole body, or no connection, would refuse everything."""
    with pytest.raises(SettingsError, match=said):
        read(given("--policy", "p", "--workers", "2", *words), {})


def test_one_body_fits_into_what_all_may_hold() -> None:
    """Else a body within the limit would be told to come again, for ever."""
    with pytest.raises(SettingsError, match="too small for a single body of --body-limit: give 100 MiB or more"):
        read(given("--policy", "p", "--body-limit", "100", "--body-budget", "10"), {})


def test_a_way_out_that_is_none_is_refused_at_the_start() -> None:
    """By the name of its variable, before anything listens."""
    with pytest.raises(SettingsError, match="HTTPS_PROXY is no http:// address"):
        read(given("--policy", "p"), {"https_proxy": "socks5://near"})
