"""The shadow step of a migration, with boto3 clients: nobody notices, and what is not alike is found."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from policies.migration_state import Phase
from proxy.cli import main
from tests.migration.journey import CREDENTIALS, LOOK, Clients, Fleet, watched
from tests.proxy.workers.serving import Serving, served
from tests.standins import IMPORT_ARN, REGION, Standin, config_of, emulator_in_thread, with_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def policy_of(standin: Standin, folder: Path, steps: str) -> str:
    """An endpoint that is judged by the agreement of its answers."""
    return f"""
apiVersion: pointsman/v1
account: "123456789012"
targets:
  gpu: {{kind: endpoint, endpoint: dedicated, url: "{standin.url}", region: {REGION}, speaks: openai-chat}}
  import: {{kind: bedrock, model: "{IMPORT_ARN}", url: "{standin.url}", region: {REGION}, speaks: openai-chat}}
endpoints:
  apexguru:
    clients_speak: openai-chat
    serve_from: gpu
    timeout: 60s
    migrate:
      to: import
      steps: {steps}
      gates: {{agreement: at least 0.9 of the A/A floor}}
      on_breach: {{otherwise: start}}
      keep_differences: {{folder: "{folder}", redact: {{patterns: ["secret-[0-9]+"]}}, below: 95%}}
"""


def flags(fleet: Fleet) -> tuple[str, ...]:
    return ("--state", fleet.address, "--state-poll", str(LOOK), "--state-copy", str(fleet.policy.parent))


def results(serving: Serving) -> dict[str, int]:
    """What became of sampled requests, over both workers."""
    lines = serving.read("/metrics").splitlines()
    found = [line for line in lines if line.startswith("pointsman_shadow_requests_total{")]
    return {line.split('result="')[1].split('"')[0]: int(float(line.rsplit(" ", 1)[1])) for line in found}


def test_a_candidate_that_answers_alike_is_found_alike(tmp_path: Path) -> None:
    """It gets its first client only after enough copies have been compared, and the audit record says how many."""
    fleet = Fleet(tmp_path / "policy.yaml", f"sqlite:///{tmp_path / 'state.db'}")
    steps = "[{shadow: 100%, hold: 1s}, {share: 100%}]"
    with (
        emulator_in_thread() as standin,
        served(tmp_path, policy_of(standin, tmp_path / "kept", steps), *flags(fleet)) as serving,
        watched(Clients(serving.port)) as clients,
    ):
        assert fleet.order("migrate", "start", "apexguru", "--reason", "cheaper") == 0
        fleet.until(lambda kept: kept.state.phase is Phase.DONE)
        seen = results(serving)
        fleet.until(lambda kept: clients.answers["import"] > 0)
    assert seen["compared"] >= 74  # what a bound of 0.9 needs at the least
    assert not {"broken", "candidate_failed", "floor_failed"} & seen.keys()
    (grew,) = (one for one in fleet.history() if one["event"] == "grew" and one["before"] == 0 and one["after"] == 1)
    (gate,) = grew["gates"]
    assert (gate["gate"], gate["answer"]) == ("agreement", "green")
    lines = [json.loads(line) for line in serving.log.read_text().splitlines()]
    copies = [line for line in lines if line["log"] == "shadow"]
    assert {line["attempts"][0]["target"] for line in copies} == {"gpu", "import"}
    assert {line["operation"] for line in lines} == {"Shadow", "InvokeEndpoint"}


def test_a_candidate_that_answers_otherwise_is_taken_back_before_any_client_met_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other weights: it goes back by itself from the shadow step; the differences can be read, without the secret."""
    fleet = Fleet(tmp_path / "policy.yaml", f"sqlite:///{tmp_path / 'state.db'}")
    steps, kept = "[{shadow: 100%, hold: 10m}, {share: 100%}]", tmp_path / "kept"
    other = config_of(with_model("imported", weights="other"))
    with (
        emulator_in_thread(other) as standin,
        served(tmp_path, policy_of(standin, kept, steps), *flags(fleet)) as serving,
        watched(Clients(serving.port)) as clients,
    ):
        assert fleet.order("migrate", "start", "apexguru", "--reason", "cheaper") == 0
        fleet.until(lambda kept: kept.state.step == 0)
        client = standin.client("sagemaker-runtime", url=f"http://127.0.0.1:{serving.port}")
        for number in range(5):
            assert streamed(client, f"secret-{number}")
        fleet.until(lambda kept: kept.state.phase is Phase.ROLLED_BACK)
        compared = results(serving)["compared"]
    assert set(clients.answers) == {"gpu"}
    (breached,) = (one for one in fleet.history() if one["event"] == "breached")
    assert "of the A/A floor, 0.9 wanted (" in json.dumps(breached)
    assert compared < 1000  # looked at every quarter of a second, or as often as a busy machine can
    capsys.readouterr()
    assert main(["migrate", "diffs", "apexguru", "--policy", str(serving.policy), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["kept"] > 10
    assert all(one["score"] < 0.95 <= one["floor"] for one in told["differences"])
    kept_text = "".join(path.read_text() for path in kept.iterdir())
    assert "secret-" not in kept_text


def streamed(client: Any, text: str) -> bytes:
    """A streamed answer, whole."""
    body = {"messages": [{"role": "user", "content": text}], "max_tokens": 8, "stream": True}
    answer = client.invoke_endpoint_with_response_stream(
        EndpointName="apexguru", ContentType="application/json", Body=json.dumps(body).encode()
    )
    return b"".join(event["PayloadPart"]["Bytes"] for event in answer["Body"])


def test_a_client_gets_its_answer_before_any_copy_leaves(tmp_path: Path) -> None:
    """A candidate that takes half a minute costs the client nothing: ten calls are over before it has answered one."""
    fleet = Fleet(tmp_path / "policy.yaml", f"sqlite:///{tmp_path / 'state.db'}")
    steps = "[{shadow: 100%, hold: 10m}, {share: 100%}]"
    slow = config_of(with_model("imported", latency={"first_byte": 30.0}))
    with (
        emulator_in_thread(slow) as standin,
        served(tmp_path, policy_of(standin, tmp_path / "kept", steps), *flags(fleet)) as serving,
    ):
        assert fleet.order("migrate", "start", "apexguru", "--reason", "cheaper") == 0
        fleet.until(lambda kept: kept.state.step == 0)
        time.sleep(2 * LOOK)  # until every worker has heard of it: there is nothing to wait for but time
        client = standin.client("sagemaker-runtime", url=f"http://127.0.0.1:{serving.port}")
        began = time.monotonic()
        for _ in range(10):
            assert streamed(client, "hi")
        assert time.monotonic() - began < 30.0
