"""Reading the policy file that a command was given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from policies.errors import PolicyError, Problem
from proxy.cli import StartError
from proxy.cli.policy_file import LARGEST, print_refusal, read_policy

POLICY = """\
apiVersion: pointsman/v1
account: "123456789012"
targets: {a: {kind: endpoint, endpoint: a, region: us-east-1}}
endpoints: {x: {serve_from: a}}
"""


def test_policy_is_read_with_its_path_as_source(tmp_path: Path) -> None:
    """Problems are told under the path that was given."""
    file = tmp_path / "p.yaml"
    file.write_text(POLICY)
    assert read_policy(str(file), {}).endpoints == {"x"}
    file.write_text(POLICY.replace("serve_from: a", "serve_from: b"))
    with pytest.raises(PolicyError) as caught:
        read_policy(str(file), {})
    assert str(caught.value).startswith(f"{file}:4: endpoints.x.serve_from: no target is called `b`")


def test_byte_order_mark_is_no_part_of_the_policy(tmp_path: Path) -> None:
    """Editors on Windows write one."""
    file = tmp_path / "p.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + POLICY.encode())
    assert read_policy(str(file), {}).endpoints == {"x"}


def test_object_in_s3_is_to_be_fetched_first() -> None:
    """Only `serve` reads objects; the line has the command that makes a file of it."""
    with pytest.raises(StartError, match=r"`aws s3 cp s3://bucket/policy\.yaml policy\.yaml`"):
        read_policy("s3://bucket/policy.yaml", {})


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file"), (b"a: 1\nb: \xe9", r"p\.yaml:2: not UTF-8"), (b"#" * (LARGEST + 1), "larger than 16 MiB")],
    ids=["missing", "not text", "huge"],
)
def test_file_that_cannot_be_read(content: bytes | None, reason: str, tmp_path: Path) -> None:
    """One line that names the file and what is the matter with it."""
    file = tmp_path / "p.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(StartError, match=reason) as caught:
        read_policy(str(file), {})
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_directory_is_no_policy(tmp_path: Path) -> None:
    """A directory is told from a file before anything is parsed."""
    with pytest.raises(StartError, match="directory"):
        read_policy(str(tmp_path), {})


def test_refusal_in_words_and_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Words go to standard error, where a pipe does not swallow them; JSON is the output that was asked for."""
    error = PolicyError((Problem("endpoints.x", 4, "wrong"),), "p.yaml")
    print_refusal(error, in_json=False)
    assert capsys.readouterr() == ("", "p.yaml:4: endpoints.x: wrong\n")
    print_refusal(error, in_json=True)
    out, err = capsys.readouterr()
    problem = {"path": "endpoints.x", "line": 4, "severity": "error", "message": "wrong"}
    assert json.loads(out) == {"ok": False, "problems": [problem]}
    assert err == ""
