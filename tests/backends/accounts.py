"""What stands for an AWS account in tests: a config file, a clock that a test moves, and STS."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import botocore.session
from aiohttp import web

START = datetime(2026, 11, 21, tzinfo=UTC)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def session_with(config: Path, profile: str | None = None) -> boto3.Session:
    """`chain_of` with the rest of boto3."""
    return boto3.Session(botocore_session=chain_of(config, profile))


def chain_of(config: Path, profile: str | None = None, region: str | None = "us-east-1") -> botocore.session.Session:
    """A session that knows one config file and nothing of the machine it runs on."""
    core = botocore.session.Session(profile=profile)
    core.set_config_variable("region", region)
    core.set_config_variable("config_file", str(config))
    core.set_config_variable("credentials_file", str(config.parent / "none"))
    core.set_config_variable("metadata_service_num_attempts", 0)
    return core


class Sts:
    """A stand-in of STS that knows AssumeRole."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.asked: list[dict[str, str]] = []
        self.refuse = False
        self.url = ""

    async def answer(self, request: web.BaseRequest) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        form["signed"] = request.headers["Authorization"].split("Credential=")[1].split(",")[0]
        self.asked.append(form)
        if self.refuse:
            text = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>hush</Message></Error></ErrorResponse>"
            return web.Response(status=403, text=text, content_type="text/xml")
        expiration = (self.clock.now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        text = (
            '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
            f"<AccessKeyId>ASIA{len(self.asked)}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
            f"<SessionToken>t</SessionToken><Expiration>{expiration}</Expiration>"
            "</Credentials></AssumeRoleResult></AssumeRoleResponse>"
        )
        return web.Response(text=text, content_type="text/xml")
