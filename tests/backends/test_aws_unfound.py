"""What is said at the start where nothing on the machine gives credentials: from what is written, nobody is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.aws import AwsCredentials

from .accounts import chain_of


@pytest.mark.parametrize(
    ("text", "given", "vendor", "says"),
    [
        (
            "[default]\nregion = us-east-1\n",
            {"AWS_ACCESS_KEY_ID": ""},
            "QEMU",
            "no AWS credentials in environment or files",
        ),
        ("", {"AWS_EC2_METADATA_DISABLED": "true"}, "Amazon EC2", "no AWS credentials in environment or files"),
        ("", {}, "Amazon EC2", None),
        ("", {}, "Xen", None),
        ("[default]\ncredential_process = false\n", {}, "", None),
        ("", {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1"}, "", None),
    ],
)
async def test_what_gives_no_credentials_is_known_without_asking(
    tmp_path: Path, text: str, given: dict[str, str], vendor: str, says: str | None
) -> None:
    """Neither a process is run nor a service asked: what is written says whether there can be any."""
    (tmp_path / "config").write_text(text)
    (tmp_path / "vendor").write_text(f"{vendor}\n")
    (tmp_path / "bios_version").write_text("4.11.amazon\n")
    credentials = AwsCredentials(make_session=lambda: chain_of(tmp_path / "config"))
    why = await credentials.unfound(given, tmp_path / "vendor")
    await credentials.aclose()
    assert (why or "").partition(":")[0] == (says or "")


@pytest.mark.parametrize("version", ["4.17.0\n", None])
async def test_another_machine_on_xen_is_not_taken_for_one_of_ec2s(tmp_path: Path, version: str | None) -> None:
    """Only EC2's say so in their BIOS."""
    (tmp_path / "config").write_text("")
    (tmp_path / "vendor").write_text("Xen\n")
    if version is not None:
        (tmp_path / "bios_version").write_text(version)
    credentials = AwsCredentials(make_session=lambda: chain_of(tmp_path / "config"))
    assert await credentials.unfound({}, tmp_path / "vendor") is not None
    await credentials.aclose()


async def test_a_profile_that_is_not_there_is_told(tmp_path: Path) -> None:
    """In the words that the first request would have for it."""
    (tmp_path / "config").write_text("[other]\nregion = us-east-1\n")
    credentials = AwsCredentials(make_session=lambda: chain_of(tmp_path / "config", "mine"))
    why = await credentials.unfound({}, tmp_path / "vendor")
    await credentials.aclose()
    assert why == "the AWS profile does not exist: check AWS_PROFILE and the AWS config file"
