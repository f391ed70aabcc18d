"""URLs, ARNs, AWS hosts and names of AWS's, as far as a policy's promises depend on them.

The patterns are those of AWS's own service models (botocore 1.44.5: `bedrock`, `sts`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

AWS_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")
# fmt: off
AWS_REGIONS = frozenset((
    "af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1",
    "ap-south-2", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5",
    "ap-southeast-6", "ap-southeast-7", "ca-central-1", "ca-west-1", "eu-central-1", "eu-central-2", "eu-north-1",
    "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3", "il-central-1", "me-central-1", "me-south-1",
    "mx-central-1", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2", "cn-north-1", "cn-northwest-1",
    "us-gov-east-1", "us-gov-west-1", "us-iso-east-1", "us-iso-west-1", "us-isob-east-1", "us-isob-west-1",
    "eu-isoe-west-1", "us-isof-east-1", "us-isof-south-1", "eusc-de-east-1",
))
# fmt: on
"""Regions of all partitions (botocore 1.44.5, endpoints.json); new ones come, so another name is only doubted."""
_IMPORTED_MODEL = re.compile(r"arn:aws(?:-[a-z-]+)?:bedrock:([a-z0-9-]{1,20}):([0-9]{12}):imported-model/[a-z0-9]{12}")
_ROLE = re.compile(r"arn:aws(?:-[a-z-]+)?:iam::[0-9]{12}:role/[\w+=,.@/-]{1,512}", re.ASCII)
_GUARDRAIL = re.compile(r"[a-z0-9]+|arn:aws(?:-[^:]+)?:bedrock:[a-z0-9-]{1,20}:[0-9]{12}:guardrail/[a-z0-9]+")
_AWS_HOSTS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
_INSTANCE = re.compile(r"(ml\.)?[a-z][a-z0-9-]{1,31}\.[a-z0-9-]{1,31}")
_UNITS_VERSION = re.compile(r"v[0-9]{1,3}\.[0-9]{1,3}")
_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|0\.0\.0\.0|::1|::|0:0:0:0:0:0:0:[01]")


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """What the ARN of a Bedrock imported model says."""

    region: str
    account: str


def imported_model(arn: str) -> ImportedModel | None:
    """The parts of `arn:aws:bedrock:REGION:ACCOUNT:imported-model/ID`, or None when it is not one."""
    match = _IMPORTED_MODEL.fullmatch(arn)
    return ImportedModel(match[1], match[2]) if match else None


def imported_model_refusal(arn: str) -> str | None:
    """Why `arn` is not an imported model's, or None."""
    if imported_model(arn) is not None:
        return None
    return (
        "is not the ARN of an imported model; it looks like "
        "arn:aws:bedrock:us-east-1:123456789012:imported-model/ and twelve lower-case letters or digits"
    )


def role_refusal(arn: str) -> str | None:
    """Why `arn` cannot name an IAM role, or None."""
    return None if _ROLE.fullmatch(arn) else "is not a role's ARN; it looks like arn:aws:iam::123456789012:role/NAME"


def guardrail_refusal(identifier: str) -> str | None:
    """Why `identifier` is no guardrail's, or None."""
    if _GUARDRAIL.fullmatch(identifier):
        return None
    return "is neither a guardrail's identifier (lower-case letters and digits) nor its ARN"


def url_refusal(url: str) -> str | None:
    """Why `url` cannot be a base URL, or None. The reason never repeats the URL, which may hold a secret."""
    if not url.isascii() or any(character <= " " or character in '<>"\\^`{|}' for character in url):
        return "has characters that no URL holds; percent-encode them"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "has a host or port that cannot be read; write http://HOST:PORT"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "must begin with http:// or https:// and name a host"
    if parts.username is not None or parts.password is not None:
        return "must not hold a user or password"
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        return "must not have a query or a fragment; it is a base that paths are added to"
    if port == 0:
        return "has port 0, which nothing listens on"
    return None


def host_and_port(url: str) -> tuple[str, int]:
    """Lower-case host without brackets, and port, of a URL that `url_refusal` has passed."""
    parts = urlsplit(url)
    return (parts.hostname or ""), parts.port or (443 if parts.scheme == "https" else 80)


def is_loopback(host: str) -> bool:
    """Whether `host` means this machine, any-address included: what listens on 0.0.0.0 is reached as localhost."""
    return _LOOPBACK.fullmatch(host.lower()) is not None


def is_aws(url: str) -> bool:
    """Whether `url` is one of AWS's own hosts, to which AWS's limits apply."""
    return host_and_port(url)[0].endswith(_AWS_HOSTS)


def region_of(url: str) -> str | None:
    """The region that an AWS host name says, or None."""
    host, _ = host_and_port(url)
    if not host.endswith(_AWS_HOSTS):
        return None
    return next((label for label in host.split(".") if AWS_REGION.fullmatch(label)), None)


def instance_refusal(text: str) -> str | None:
    """Why `text` is no type of an instance, or None when it is one."""
    if _INSTANCE.fullmatch(text) is None:
        return "is not a type of instance; write it like ml.g6e.xlarge (SageMaker) or g6e.xlarge (EC2)"
    return None


def units_version_refusal(text: str) -> str | None:
    """Why `text` is no version of custom model units, or None when it is one."""
    return None if _UNITS_VERSION.fullmatch(text) else "is not a version of custom model units; write it like v1.0"
