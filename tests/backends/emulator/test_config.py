"""The configuration file."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from backends.emulator.aws import BEDROCK, SAGEMAKER
from backends.emulator.config import (
    Cold,
    Copies,
    EmulatorConfig,
    Keep,
    Limits,
    ModelConfig,
    Price,
    load_config,
    load_faults,
)
from backends.emulator.faults import ENGINE
from backends.emulator.reading import EmulatorConfigError
from tests.standins import IMPORT_ARN, MODELS, config_of

ROOT = Path(__file__).parents[3]


def problems(models: dict[str, Any], **settings: Any) -> str:
    with pytest.raises(EmulatorConfigError) as found:
        config_of(models, **settings)
    return str(found.value)


def test_the_built_in_configuration_is_the_quickstarts() -> None:
    """`pointsman emulate` without a file starts what `make run` starts: the two files are one text."""
    built_in = resources.files("backends.emulator").joinpath("default.yaml").read_text("utf-8")
    assert (ROOT / "examples/quickstart/emulator.yaml").read_text("utf-8") == built_in
    config = load_config(built_in, "default.yaml")
    assert [config.address(name) for name in config.models] == [
        ("endpoint", "inline-gpu"),
        ("component", "codegen-shared-gpu", "blockgen"),
        ("endpoint", "apexguru-gpu"),
        ("import", "arn:aws:bedrock:us-east-1:123456789012:imported-model/apexguru0001"),
    ]
    assert config.models["apexguru-import"].cold.starts == "warm"
    assert config.credentials[0].access_key_id == "AKIDEMULATOREXAMPLE"


def test_defaults_are_awss_own() -> None:
    """Idle eviction of imports after five minutes down to zero, 25 MiB and 25,000,000 bytes, 60 s and 8 min."""
    config = config_of()
    imported, dedicated = config.models["imported"], config.models["dedicated"]
    assert (imported.idle_seconds, imported.minimum, imported.service) == (300.0, 0, BEDROCK)
    assert (dedicated.idle_seconds, dedicated.minimum, dedicated.service) == (None, 1, SAGEMAKER)
    assert (config.models["packed"].minimum, config.models["engine"].service) == (0, ENGINE)
    assert (config.limits.sagemaker_body, config.limits.bedrock_body) == (26_214_400, 25_000_000)
    assert (config.limits.unary, config.limits.stream) == (60, 480)
    assert config_of({"m": {**MODELS["imported"], "copies": {"min": 1}}}).models["m"].minimum == 1


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"kind": "component", "dialect": "tgi"}, "a component needs `endpoint:`"),
        ({"kind": "endpoint", "dialect": "tgi", "component": "c"}, "belongs to kind component"),
        ({"kind": "import", "dialect": "openai-chat", "arn": "arn:x"}, "an import needs `arn:"),
        ({"kind": "import", "dialect": "openai-chat"}, "an import needs `arn:"),
        ({"kind": "endpoint", "dialect": "tgi", "arn": IMPORT_ARN}, "belongs to kind import"),
        ({"kind": "endpoint", "dialect": "tgi", "adapters": ["a"]}, "belongs to kind engine"),
        ({"kind": "endpoint", "dialect": "bedrock-completion"}, "spoken by imports only"),
        ({"kind": "endpoint", "dialect": "tgi", "container": {"url": "http://127.0.0.1:1"}}, "a model needs either"),
        ({"kind": "endpoint", "container": {"url": "http://10.0.0.1:1"}}, "should match pattern"),
        ({"kind": "engine", "container": {"url": "http://127.0.0.1:1"}}, "kinds endpoint and component"),
        ({"kind": "engine", "dialect": "tgi"}, "spoken behind SageMaker endpoints only"),
        ({"kind": "endpoint", "dialect": "tgi", "copies": {"min": 3}}, "copies.max 1 is below copies.min 3"),
        ({"kind": "endpoint", "dialect": "tgi", "tokens": {"min": 9, "max": 8}}, "min 9 is above max 8"),
        ({"kind": "endpoint", "dialect": "tgi", "endpoint": "no_underscore"}, "1 to 63 letters"),
        ({"kind": "endpoint", "dialect": "tgi", "idle": "soon"}, "write a duration"),
        ({"kind": "endpoint", "dialect": "tgi", "faults": ["hang", "oops"]}, "unknown fault 'oops'"),
        ({"kind": "endpoint", "dialect": "tgi", "faults": [{"name": "hang", "frst": 1}]}, "did you mean `first`"),
        ({"kind": "endpoint", "dialect": "tgi", "faults": "hang"}, "valid tuple"),
    ],
)
def test_a_model_that_can_not_be_is_refused_with_a_remedy(model: dict[str, Any], said: str) -> None:
    """Each contradiction is named with the model's place in the file."""
    text = problems({"m": model})
    assert said in text
    assert "test:1: models.m" in text


def test_two_models_can_not_share_an_address() -> None:
    """Clients could not tell them apart; and a dedicated endpoint holds no components."""
    one = {"kind": "endpoint", "dialect": "tgi", "endpoint": "e"}
    assert "models a and b have the same address endpoint e" in problems({"a": one, "b": one})
    component = {"kind": "component", "dialect": "tgi", "endpoint": "e"}
    assert "cannot hold component b" in problems({"a": one, "b": component})


def test_all_problems_come_in_one_report() -> None:
    """Each with its own line."""
    text = problems({"bad name": MODELS["echo"], "m": {"kind": "endpoint"}}, account=123, colour="red")
    assert len(text.splitlines()) == 4
    assert "account: must be text; put it in quotes" in text
    assert "colour: unknown key" in text
    assert "models.m: a model needs either `dialect:` or `container: {url: ...}`" in text
    assert "models.bad name: a name has 1 to 63" in text


def test_faults_can_be_names_or_mappings() -> None:
    """A fault without parameters is just its name, a number included."""
    faults = load_faults(["hang", 413, {"name": "ModelError", "original_status_code": 404}], SAGEMAKER)
    assert [fault.name for fault in faults] == ["hang", "413", "ModelError"]


@pytest.mark.parametrize(
    ("faults", "service", "said"),
    [
        (["no-capacity"], BEDROCK, "is one of sagemaker-runtime, not of bedrock-runtime"),
        (["split-utf8"], BEDROCK, "is one of sagemaker-runtime and engine, not of bedrock-runtime"),
        (["modelStreamErrorException"], SAGEMAKER, "is one of bedrock-runtime"),
        ([{"name": "hang", "probability": 2}], SAGEMAKER, "faults: 0.probability: "),
    ],
)
def test_runtime_faults_are_as_strict(faults: list[Any], service: str, said: str) -> None:
    """A fault that a service can't have is refused with where it belongs."""
    with pytest.raises(EmulatorConfigError, match=said):
        load_faults(faults, service)


def test_configuration_is_a_value() -> None:
    """The same text gives an equal configuration, also through JSON."""
    config = config_of()
    again = EmulatorConfig.model_validate(json.loads(config.model_dump_json(exclude_defaults=True)))
    assert again == config


def test_every_key_is_documented() -> None:
    """docs/emulator.md names each key of the file."""
    text = (ROOT / "docs/emulator.md").read_text()
    keys = {
        key for part in (EmulatorConfig, ModelConfig, Cold, Copies, Limits, Keep, Price) for key in part.model_fields
    }
    assert {key for key in keys if f"`{key}`" not in text} == set()
