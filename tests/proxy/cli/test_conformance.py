"""`pointsman conformance`: flags, report, exit codes; and its page."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from backends.wire.sigv4 import Credentials
from proxy.cli import EXIT_CANNOT_START, EXIT_FINDINGS, EXIT_OK, main
from proxy.cli.conformance import signing
from proxy.conformance import CHECKS
from tests.checkout import ROOT
from tests.standins import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, config_of, emulator_in_thread


def test_page_lists_every_check() -> None:
    """docs/conformance.md has a row for each check with its sentence, in the order of the report, and no other."""
    rows = re.findall(
        r"^\| `([\w-]+)` \| (.*) \| .* \| (advice)? ?\|$", (ROOT / "docs/conformance.md").read_text(), re.M
    )
    assert rows == [(check.name, check.says, "advice" if check.advice else "") for check in CHECKS]


def test_report_of_a_server_that_keeps_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    """Text has a line a check and a summary, JSON the same with evidence and without bodies; exit 0."""
    with emulator_in_thread(config_of(signatures="off")) as standin:
        words = ["conformance", "--endpoint-url", standin.url, "--endpoint", "dedicated", "--only", "unary-*"]
        assert main(words) == EXIT_OK
        assert capsys.readouterr().out.splitlines()[-1] == "5 passed, 0 failed"
        assert main([*words, "--json"]) == EXIT_OK
    document = json.loads(capsys.readouterr().out)
    assert {check["result"] for check in document["checks"]} == {"passed"}
    assert document["checks"][0]["evidence"][0]["status"] == 200
    assert "choices" not in json.dumps(document["checks"][0]["evidence"])


def test_report_of_a_server_that_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    """An endpoint that answers nothing fails; the report quotes the contract; exit 1."""
    with emulator_in_thread(config_of(signatures="off")) as standin:
        words = ["conformance", "--endpoint-url", standin.url, "--endpoint", "nowhere", "--only", "unary-answers"]
        assert main(words) == EXIT_FINDINGS
    said = capsys.readouterr().out
    assert "FAIL  unary-answers" in said
    assert "200 is due, and 400 ValidationError came" in said
    assert "the contract: POST" in said


def test_report_says_what_to_do_where_nobody_is_let_in(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server on this machine is asked unsigned; one that wants signatures is named the flag, or the wrong key."""
    with emulator_in_thread(config_of(signatures="strict")) as standin:
        words = ["conformance", "--endpoint-url", standin.url, "--endpoint", "dedicated", "--only", "unary-answers"]
        assert main(words) == EXIT_FINDINGS
        assert "sign them with --sign" in capsys.readouterr().out.splitlines()[-1]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDUNKNOWN")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "unknown")
        assert main([*words, "--sign", "--region", REGION]) == EXIT_FINDINGS
        assert "are these credentials" in capsys.readouterr().out.splitlines()[-1]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
        assert main([*words, "--sign", "--region", REGION]) == EXIT_OK
        assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 0 failed"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "nothing"], "no check matches nothing"),
        ([], "--endpoint-url URL"),
        (["--endpoint-url", "ftp://x", "--endpoint", "e"], "not a base URL"),
        (["--endpoint-url", "http://127.0.0.1:1", "--endpoint", "e"], "is it running"),
        (["--endpoint-url", "http://127.0.0.1:1", "--endpoint", "e", "--timeout", "0"], "--timeout 0"),
        (["--endpoint-url", "http://127.0.0.1:1", "--endpoint", "e", "--body", "/nowhere"], "--body /nowhere"),
    ],
)
def test_wrong_usage_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What can't be run says what to do, with exit 2."""
    assert main(["conformance", *words]) == EXIT_CANNOT_START
    line, _, rest = capsys.readouterr().err.partition("\n")
    assert said in line
    assert rest == ""


def test_list_names_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    """`--list` needs no server."""
    assert main(["conformance", "--list", "--json"]) == EXIT_OK
    assert [check["name"] for check in json.loads(capsys.readouterr().out)] == [check.name for check in CHECKS]


def test_signature_is_sagemaker_s() -> None:
    """Requests are signed for the service `sagemaker` in the region given, also when a loop runs."""

    async def signed() -> dict[str, str]:
        return dict(signing(Credentials("AK", "secret"), "eu-west-1")("POST", "http://h/p", (), b""))

    assert "/eu-west-1/sagemaker/aws4_request" in asyncio.run(signed())["Authorization"]
