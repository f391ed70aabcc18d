"""One target as written, checked against itself and compiled: addresses, ARNs, regions, defaults of its kind."""

from __future__ import annotations

from typing import assert_never

from . import schema
from .addresses import AWS_REGION, imported_model, region_of
from .errors import Path
from .findings import Findings
from .limits import Bounds
from .table import (
    AssumedRole,
    BedrockSpec,
    EndpointSpec,
    ImportCost,
    InstanceCost,
    Isolation,
    LimitRule,
    Spec,
    Target,
    VllmSpec,
)

SAGEMAKER_BODY_LIMIT = 25 * 1024 * 1024
"""The developer guide says 25 MB for real-time endpoints; the larger reading, so that SageMaker has the last word."""
BEDROCK_BODY_LIMIT = 25_000_000
"""InvokeModel's body, exactly (botocore 1.44.5, bedrock-runtime model)."""

ISOLATION = {"shared": Isolation.SHARED, "container": Isolation.CONTAINER, "instance": Isolation.INSTANCE}


def compile_target(name: str, written: schema.Target, findings: Findings) -> Target:
    """The target, usable when no problem was found."""
    path: Path = ("targets", name)
    spec: Spec
    region: str | None
    match written:
        case schema.EndpointTarget():
            spec, region = _endpoint(written, path, findings)
            isolation = Isolation.CONTAINER if written.component else Isolation.INSTANCE
        case schema.BedrockTarget():
            spec, region = _bedrock(written, path, findings)
            isolation = Isolation.CONTAINER
        case schema.VllmTarget():
            spec, region = _vllm(written, path, findings)
            isolation = Isolation.INSTANCE
        case _:
            assert_never(written)
    limit = BEDROCK_BODY_LIMIT if written.kind == "bedrock" else SAGEMAKER_BODY_LIMIT
    if written.kind == "bedrock" and written.body_limit is not None and written.body_limit > limit:
        findings.add((*path, "body_limit"), "is more than Bedrock takes; 25MB (25,000,000 bytes) is its most")
    return Target(
        name=name,
        kind=written.kind,
        spec=spec,
        speaks=written.speaks,
        region=region,
        isolation=ISOLATION[written.isolation] if written.isolation else isolation,
        data_classes=frozenset(written.accepts_data or ()),
        body_limit=written.body_limit or limit,
        streams=written.streams,
        restore=written.cold.restore if written.cold else None,
        idle_limit=written.cold.idle_limit if written.cold else None,
        connect_timeout=written.connect_timeout,
        first_byte=written.first_byte,
        between_chunks=written.between_chunks,
        limit=_limit(written.limit, path, findings),
        cost=_cost(written.cost, path, findings),
        source_line=findings.line(path),
    )


def _cost(
    written: schema.ImportCost | schema.InstanceCost | None, path: Path, findings: Findings
) -> ImportCost | InstanceCost | None:
    if isinstance(written, schema.ImportCost):
        return ImportCost(written.units, written.version, written.copies)
    if written is None:
        return None
    if written.committed > written.count:
        many = f"is {written.committed}, more than the {written.count} there are; count them as well, or say fewer"
        findings.add((*path, "cost", "committed"), many)
    return InstanceCost(written.instance, written.count, written.share, written.committed)


def _limit(written: schema.Limit, path: Path, findings: Findings) -> LimitRule:
    if written.min > written.max:
        findings.add((*path, "limit", "min"), f"is more than max ({written.max})")
    return LimitRule(Bounds(written.min, written.max), written.queue, written.queue_bytes, written.wait)


def _endpoint(written: schema.EndpointTarget, path: Path, findings: Findings) -> tuple[Spec, str | None]:
    region = written.region
    if region is None and (written.sign or written.url is None):
        findings.add(path, "needs a region to sign for, such as `region: us-east-1`")
    elif region is not None and AWS_REGION.fullmatch(region) is None and written.sign:
        findings.add((*path, "region"), "is not an AWS region such as us-east-1")
    if not written.sign and written.url is None:
        findings.add((*path, "sign"), "cannot be false for SageMaker itself, which refuses unsigned calls; give a url")
    if not written.sign and written.assume_role is not None:
        findings.add((*path, "assume_role"), "has no use with `sign: false`; delete one of them")
    _same_region(region, written.url, path, findings)
    spec = EndpointSpec(
        endpoint=written.endpoint,
        component=written.component,
        url=_base(written.url),
        sign=written.sign,
        role=_role(written.assume_role),
        trace_attributes=written.trace_in_custom_attributes,
    )
    return spec, region


def _bedrock(written: schema.BedrockTarget, path: Path, findings: Findings) -> tuple[Spec, str | None]:
    model = imported_model(written.model)
    region = model.region if model is not None else written.region
    if written.region not in (None, region):
        findings.add((*path, "region"), f"contradicts the model's ARN, which says {region}; delete the key")
    _same_region(region, written.url, path, findings)
    guardrail = written.guardrail
    spec = BedrockSpec(
        model=written.model,
        url=_base(written.url),
        role=_role(written.assume_role),
        guardrail=guardrail.id if guardrail else None,
        guardrail_version=guardrail.version if guardrail else None,
    )
    return spec, region


def _vllm(written: schema.VllmTarget, path: Path, findings: Findings) -> tuple[Spec, str | None]:
    if (written.url is None) == (written.urls is None):
        findings.add(path, "needs either `url`, or `urls` when it has replicas")
    urls = [url.rstrip("/") for url in written.urls or ([written.url] if written.url is not None else [])]
    for index, url in enumerate(urls):
        if url in urls[:index]:
            findings.add((*path, "urls", index), "is listed twice; a replica counts once")
    return VllmSpec(tuple(urls), written.model, written.adapter), written.region


def _base(url: str | None) -> str | None:
    return url.rstrip("/") if url is not None else None


def _role(role: schema.Role | None) -> AssumedRole | None:
    return AssumedRole(role.arn, role.external_id) if role is not None else None


def _same_region(region: str | None, url: str | None, path: Path, findings: Findings) -> None:
    said = region_of(url) if url is not None else None
    if said is not None and region is not None and said != region:
        findings.add((*path, "url"), f"is in {said}, but the target's region is {region}; make them agree")
