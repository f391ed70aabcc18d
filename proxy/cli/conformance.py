"""`pointsman conformance`: run the contract's checks against a server that claims to keep it, and print a report."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import orjson

from backends.aws import AwsCredentials, CredentialsError, utc_now
from backends.base import Headers
from backends.wire.sigv4 import Credentials, Signer

from ..conformance import (
    DIALECTS,
    Check,
    Finding,
    NoAnswer,
    Sample,
    Sign,
    Subject,
    chosen,
    described,
    document_of,
    examine,
    lines_of,
    reach,
    read_origin,
    sample,
    summary,
)
from ..settings import LOOPBACK, environment
from . import EXIT_FINDINGS, EXIT_OK, StartError

_REGION = re.compile(r"(?:^|\.)([a-z]{2}(?:-[a-z]+)+-\d)\.")


def configure(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.description = (
        "Check from outside whether a server keeps SageMaker Runtime's contract: this proxy, a stand-in or a real "
        "endpoint. A run asks about 40 questions of 16 tokens; at a real endpoint they are billed."
    )
    parser.add_argument("--endpoint-url", metavar="URL", help="base URL of the server, as clients are given it")
    parser.add_argument("--endpoint", metavar="NAME", help="EndpointName to ask")
    parser.add_argument("--component", metavar="NAME", help="InferenceComponentName to ask, where it has components")
    parser.add_argument(
        "--dialect", choices=sorted(DIALECTS), default="openai-chat", help="dialect to ask in (default openai-chat)"
    )
    parser.add_argument("--body", metavar="FILE", help="a body that the model understands, instead of a dialect's")
    parser.add_argument(
        "--content-type", metavar="TYPE", default="application/json", help="type of --body (default application/json)"
    )
    parser.add_argument(
        "--only", metavar="PATTERN", action="append", default=[], help="checks to run, as stream-*; may be repeated"
    )
    parser.add_argument("--heavy", action="store_true", help="also send bodies of 6 and of 25 MiB")
    parser.add_argument(
        "--sign",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="sign with the AWS credentials of this environment (default: unless the server is on this machine)",
    )
    parser.add_argument("--region", metavar="NAME", help="region to sign for (default: the URL's, else AWS_REGION)")
    parser.add_argument("--timeout", metavar="S", type=float, default=60.0, help="longest wait for an answer (60)")
    parser.add_argument("--list", action="store_true", help="print the checks and end")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    """Run the checks; 1 when the contract is not kept."""
    checks = chosen(arguments.only)
    if not checks:
        msg = f"no check matches {' or '.join(arguments.only)}; `pointsman conformance --list` names them"
        raise StartError(msg)
    if arguments.list:
        _print_list(checks, arguments.json)
        return EXIT_OK
    if not arguments.endpoint_url or not arguments.endpoint:
        msg = "name the server with --endpoint-url URL and its endpoint with --endpoint NAME"
        raise StartError(msg)
    if arguments.timeout <= 0:
        msg = f"--timeout {arguments.timeout:g} is no time; give seconds"
        raise StartError(msg)
    findings = asyncio.run(_examine(arguments, checks))
    if arguments.json:
        head = {"endpoint_url": arguments.endpoint_url, "endpoint": arguments.endpoint}
        document = {**head, "component": arguments.component, "summary": summary(findings)}
        sys.stdout.buffer.write(orjson.dumps(document | {"checks": [document_of(each) for each in findings]}) + b"\n")
    else:
        print(summary(findings))
        if hint := _hint(findings, arguments):
            print(hint)
    return EXIT_FINDINGS if any(finding.counts for finding in findings) else EXIT_OK


def _hint(findings: Sequence[Finding], arguments: argparse.Namespace) -> str | None:
    """What to try when the server has let nobody in; None when there is nothing to say."""
    refused = any(
        exchange.status in (401, 403) for finding in findings if finding.counts for exchange in finding.evidence
    )
    if not refused:
        return None
    if _signs(arguments):
        return "The server refused signed requests: are these credentials, and is this region, the ones it knows?"
    return "The server refused unsigned requests: sign them with --sign and the credentials that it knows."


def _signs(arguments: argparse.Namespace) -> bool:
    signed: bool | None = arguments.sign
    return signed if signed is not None else read_origin(arguments.endpoint_url).host not in LOOPBACK


def _print_list(checks: Sequence[Check], as_json: bool) -> None:
    if as_json:
        sys.stdout.buffer.write(orjson.dumps([described(check) for check in checks]) + b"\n")
        return
    for check in checks:
        print(f"{check.name:36} {check.says} ({check.source})")


async def _examine(arguments: argparse.Namespace, checks: Sequence[Check]) -> list[Finding]:
    subject = await _subject(arguments)
    try:
        await reach(subject)
    except NoAnswer as error:
        msg = f"{arguments.endpoint_url}: {error}; is it running, and is this its address?"
        raise StartError(msg) from error
    findings = []
    async for finding in examine(subject, checks):
        findings.append(finding)
        if not arguments.json:
            print("\n".join(lines_of(finding)), flush=True)
    return findings


async def _subject(arguments: argparse.Namespace) -> Subject:
    try:
        origin = read_origin(arguments.endpoint_url)
    except ValueError as error:
        msg = f"--endpoint-url {arguments.endpoint_url}: {error}"
        raise StartError(msg) from error
    sign = await _signing(arguments.region or _region(origin.host)) if _signs(arguments) else None
    body = _body(arguments) if arguments.body else sample(arguments.dialect)
    return Subject(
        origin, arguments.endpoint, arguments.component, body, sign, arguments.timeout, heavy=arguments.heavy
    )


def _body(arguments: argparse.Namespace) -> Sample:
    try:
        return Sample(Path(arguments.body).read_bytes(), None, arguments.content_type, None)
    except OSError as error:
        msg = f"--body {arguments.body}: {(error.strerror or str(error)).lower()}"
        raise StartError(msg) from error


def _region(host: str) -> str | None:
    found = _REGION.search(host)
    variables = environment()
    return found[1] if found else variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION")


async def _signing(region: str | None) -> Sign:
    """What signs, with the credentials that boto3's chain gives now."""
    if region is None:
        msg = "no region to sign for; name one with --region, or send unsigned with --no-sign"
        raise StartError(msg)
    source = AwsCredentials()
    try:
        credentials = await source.get()
    except CredentialsError as error:
        msg = f"{error}; or send unsigned with --no-sign"
        raise StartError(msg) from error
    finally:
        await source.aclose()
    return signing(credentials, region)


def signing(credentials: Credentials, region: str) -> Sign:
    """A signer of SageMaker's requests, for the time at which each is sent."""
    signer = Signer()

    def sign(method: str, url: str, headers: Headers, body: bytes) -> Headers:
        now: datetime = utc_now()
        return signer.sign(
            method, url, headers, body, credentials=credentials, service="sagemaker", region=region, now=now
        )

    return sign
