"""The kit against our own proxy, over each kind of hosting that the stand-ins offer: what we ask of others we keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.emulator.config import load_config
from proxy.conformance import CHECKS, Result, Subject, examine, read_origin, sample
from proxy.server import running
from proxy.settings import Settings
from proxy.wiring import serving, static_credentials
from tests.standins import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, running_emulator

POLICY = """
apiVersion: pointsman/v1
account: "123456789012"
targets:
  gpu: {{kind: endpoint, endpoint: inline-gpu, region: {region}, url: "{url}", speaks: openai-chat}}
  packed:
    {{kind: endpoint, endpoint: codegen-shared-gpu, component: blockgen, region: {region}, url: "{url}",
      speaks: openai-chat}}
  import: {{kind: bedrock, model: "{arn}", url: "{url}", speaks: openai-chat}}
endpoints:
  dedicated: {{clients_speak: openai-chat, serve_from: gpu}}
  shared: {{components: {{packed: {{clients_speak: openai-chat, serve_from: packed}}}}}}
  serverless: {{clients_speak: openai-chat, serve_from: import}}
"""
ARN = "arn:aws:bedrock:us-east-1:123456789012:imported-model/apexguru0001"


@pytest.mark.parametrize(
    ("endpoint", "component"), [("dedicated", None), ("shared", "packed"), ("serverless", None)], ids=lambda name: name
)
async def test_our_proxy_keeps_the_contract(tmp_path: Path, endpoint: str, component: str | None) -> None:
    """Every check that applies passes, advice included, and none is unverifiable."""
    config = (Path(__file__).parents[3] / "examples" / "quickstart" / "emulator.yaml").read_text()
    async with running_emulator(load_config(config, "emulator.yaml")) as standin:
        policy = tmp_path / "policy.yaml"
        policy.write_text(POLICY.format(url=standin.url, region=REGION, arn=ARN))
        settings = Settings(str(policy), port=0, admin_port=0, log=str(tmp_path / "log"), drain=1.0)
        credentials = static_credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY)
        async with serving(settings, {}, credentials) as services, running(settings, services) as addresses:
            origin = read_origin(f"http://127.0.0.1:{addresses.port}")
            subject = Subject(origin, endpoint, component, sample("openai-chat"), None, 10.0)
            found = {finding.check.name: (finding.result, finding.why) async for finding in examine(subject, CHECKS)}
    wrong = {name: told for name, told in found.items() if told[0] in {Result.FAILED, Result.UNVERIFIABLE}}
    assert wrong == {}
