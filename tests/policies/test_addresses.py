"""URLs, ARNs and AWS hosts."""

from __future__ import annotations

import pytest

from policies.addresses import (
    AWS_REGION,
    ImportedModel,
    guardrail_refusal,
    host_and_port,
    imported_model,
    imported_model_refusal,
    instance_refusal,
    is_aws,
    is_loopback,
    region_of,
    role_refusal,
    units_version_refusal,
    url_refusal,
)


def test_imported_model_arn_says_region_and_account() -> None:
    """The parts of an ARN are what the policy is checked against."""
    arn = "arn:aws:bedrock:eu-central-1:123456789012:imported-model/abcdefghij12"
    assert imported_model(arn) == ImportedModel("eu-central-1", "123456789012")
    assert imported_model_refusal(arn) is None
    assert imported_model(arn.replace("aws", "aws-us-gov")) is not None


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "abcdefghij12",
        "arn:aws:bedrock:us-east-1::imported-model/abcdefghij12",
        "arn:aws:bedrock:us-east-1:123456789012:imported-model/short",
        "arn:aws:bedrock:us-east-1:123456789012:imported-model/ABCDEFGHIJ12",
        "arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefghij12\n",
        "arn:aws:bedrock:us-east-1:123456789012:custom-model/abcdefghij12",
        "arn:aws:sagemaker:us-east-1:123456789012:imported-model/abcdefghij12",
    ],
)
def test_other_arn_is_no_imported_model(arn: str) -> None:
    """What is nearly an imported model's ARN is refused with an example of one."""
    assert imported_model(arn) is None
    assert "imported-model/" in str(imported_model_refusal(arn))


def test_role_arn() -> None:
    """A role's ARN is told from a user's and from a bare name."""
    assert role_refusal("arn:aws:iam::123456789012:role/path/router") is None
    for wrong in (
        "router",
        "arn:aws:iam::123456789012:user/x",
        "arn:aws:iam::1:role/x",
        "arn:aws:iam::123456789012:role/é",
    ):
        assert "role/NAME" in str(role_refusal(wrong))


def test_guardrail_is_identifier_or_arn() -> None:
    """Bedrock takes both forms and nothing else."""
    assert guardrail_refusal("abc123") is None
    assert guardrail_refusal("arn:aws:bedrock:us-east-1:123456789012:guardrail/abc123") is None
    assert "guardrail" in str(guardrail_refusal("My Guardrail"))


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:9080", "https://host/base/path", "http://[::1]:8000", "https://a-b.example", "http://h/%7Ex/"],
)
def test_base_url(url: str) -> None:
    """Scheme and host are enough; a port and a path may follow."""
    assert url_refusal(url) is None


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("host:8000", "http://"),
        ("ftp://host", "http://"),
        ("http://", "host"),
        ("http:///path", "host"),
        ("http://user:secret@host", "password"),
        ("http://user@host", "password"),
        ("http://@host", "password"),
        ("http://host?a=1", "query"),
        ("http://host/?", "query"),
        ("http://host#x", "fragment"),
        ("http://host/#", "fragment"),
        ("http://host:0", "port 0"),
        ("http://host:99999", "port"),
        ("http://host:x", "port"),
        ("http://[::1", "host or port"),
        ("http://ho st", "percent-encode"),
        ("http://höst", "percent-encode"),
        ("http://h/{x}", "percent-encode"),
        ("http://h\n", "percent-encode"),
    ],
)
def test_url_that_is_no_base(url: str, word: str) -> None:
    """A URL that could not be called, or would leak a secret into logs, is refused without being repeated."""
    reason = str(url_refusal(url))
    assert word in reason
    assert "secret" not in reason


def test_host_and_port() -> None:
    """The port is the scheme's own where none is written; hosts are compared in lower case."""
    assert host_and_port("http://HOST/x") == ("host", 80)
    assert host_and_port("https://host") == ("host", 443)
    assert host_and_port("http://[::1]:81") == ("::1", 81)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::"])
def test_this_machine(host: str) -> None:
    """All of these reach a listener of this machine."""
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["example.com", "10.0.0.1", "127.example.com", "localhost.example.com", ""])
def test_another_machine(host: str) -> None:
    """A name that merely looks local is not this machine."""
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://runtime.sagemaker.us-east-1.amazonaws.com", "us-east-1"),
        ("https://runtime.sagemaker.eu-central-1.api.aws:443", "eu-central-1"),
        ("https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("https://vpce-1a-2b.runtime.sagemaker.us-west-2.vpce.amazonaws.com", "us-west-2"),
        ("https://runtime.sagemaker.cn-north-1.amazonaws.com.cn", "cn-north-1"),
    ],
)
def test_aws_host_says_its_region(url: str, region: str) -> None:
    """Regional, dual-stack, FIPS and PrivateLink names all hold their region."""
    assert is_aws(url)
    assert region_of(url) == region


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9080", "https://us-east-1.example.com", "https://x.notamazonaws.com"]
)
def test_other_host_says_no_region(url: str) -> None:
    """A host of one's own may be called anything."""
    assert not is_aws(url)
    assert region_of(url) is None


def test_global_aws_host_says_no_region() -> None:
    """An AWS name without a region contradicts nothing."""
    assert region_of("https://s3.amazonaws.com") is None


def test_region_names() -> None:
    """Real regions pass, mistyped ones do not."""
    assert all(AWS_REGION.fullmatch(name) for name in ("us-east-1", "ap-southeast-4", "us-gov-east-1", "mx-central-1"))
    assert not any(AWS_REGION.fullmatch(name) for name in ("us-east1", "east-1", "us-east", "us_east_1", ""))


def test_instance_types() -> None:
    """SageMaker's and EC2's; a family or a size alone is none."""
    for right in ("ml.g6e.xlarge", "g6e.xlarge", "ml.p6-b200.48xlarge", "u-6tb1.metal"):
        assert instance_refusal(right) is None
    for wrong in ("", "ml", "ml.", "xlarge", "ml.g6e.xlarge.more", "G6e.xlarge", "g6e xlarge"):
        assert "write it like ml.g6e.xlarge" in str(instance_refusal(wrong))


def test_versions_of_units() -> None:
    """As GetImportedModel writes them."""
    assert [units_version_refusal(right) for right in ("v1.0", "v12.30")] == [None, None]
    for wrong in ("", "1.0", "v1", "v1.0.0", "V1.0"):
        assert "write it like v1.0" in str(units_version_refusal(wrong))
