"""`pointsman key new`: a key that works, shown once, and a line without a secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.cli import main
from proxy.keys import derived, digest, read_keys, read_token

OTHER = f"key PMK{'A' * 17} sha256:{'0' * 64} principal=b"


def facts(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, str]:
    assert main(["key", "new", "--json", *words]) == 0
    found: dict[str, str] = json.loads(capsys.readouterr().out)
    return found


def test_a_new_key_is_what_its_line_says(capsys: pytest.CaptureFixture[str]) -> None:
    """The line is read by `--keys`, holds the secret's hash alone, and expires."""
    made = facts(capsys, "--principal", "team-a", "--allow", "chat, packed/*")
    key = read_keys(made["line"]).keys[made["id"]]
    assert (key.principal.name, key.principal.allow) == ("team-a", ("chat", "packed/*"))
    assert key.principal.expires is not None
    assert key.digest == digest(made["secret"])
    assert made["secret"] not in made["line"]
    assert read_token(made["bearer"]) == (made["id"], made["secret"])


def test_no_two_keys_are_alike_and_zero_days_are_for_ever(capsys: pytest.CaptureFixture[str]) -> None:
    """Ids and secrets are random."""
    one, two = (facts(capsys, "--principal", "a", "--days", "0") for _ in range(2))
    assert one["id"] != two["id"]
    assert one["secret"] != two["secret"]
    assert read_keys(one["line"]).keys[one["id"]].principal.expires is None


def test_a_master_secret_is_made_once_and_kept(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Readable by its owner only; keys of later calls are derived from the same one."""
    path = tmp_path / "master"
    first = facts(capsys, "--principal", "a", "--keys-secret", str(path))
    master = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    second = facts(capsys, "--principal", "a", "--keys-secret", str(path))
    assert path.read_bytes() == master
    for made in (first, second):
        assert made["secret"] == derived(master.strip(), made["id"])


def test_people_are_told_what_goes_where(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Token, credentials for SDKs where there is a master secret, and the line."""
    assert main(["key", "new", "--principal", "a", "--keys-secret", str(tmp_path / "master")]) == 0
    out = capsys.readouterr().out
    assert "shown once" in out
    assert "AWS_SECRET_ACCESS_KEY=" in out
    assert "bearer token:  pm-PMK" in out
    assert read_keys(out.splitlines()[-1]).keys
    assert main(["key", "new", "--principal", "a"]) == 0
    assert "AWS_" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--principal", "a b"), "--principal and --allow, line 1: after the name come"),
        (("--principal", "a", "--allow", "a b"), "--principal and --allow, line 1: "),
        (("--principal", "a#", "--allow", "chat"), "--principal and --allow, line 1: "),
        (("--principal", "a", "--allow", "chat#"), "--principal and --allow, line 1: "),
        (("--principal", f"a\n{OTHER}"), "--principal and --allow: they would be further lines"),
        (("--principal", "a\ncert b principal=b"), "--principal and --allow: they would be further lines"),
        (("--principal", "a", "--days", "99999999999"), "--days 99999999999: no clock goes so far; "),
        (("--principal", "a", "--days", "-1"), "--days -1: the key would have expired; "),
        (
            ("--principal", "a", "--keys-secret", "/nowhere/master"),
            "--keys-secret: cannot write /nowhere/master: No such file or directory; give a path",
        ),
    ],
)
def test_nonsense_is_refused(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str) -> None:
    """In one line, with exit code 2."""
    assert main(["key", "new", *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"pointsman key: {told}")
    assert said.count("\n") == 1
