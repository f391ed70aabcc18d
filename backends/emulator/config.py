"""The emulator's configuration file, `apiVersion: pointsman-emulator/v1`.

Strict: an unknown or doubled key, an unknown fault or a missing name is an error that says where (path and line) and
what to do; all of them come in one report. Reading a text has no side effects, so the configuration is a value like
any other.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from .aws import BEDROCK, SAGEMAKER
from .faults import ENGINE, Fault
from .reading import EmulatorConfigError, read_mapping, report, seconds

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_IMPORT = re.compile(r"arn:aws(-[a-z]+)*:bedrock:[a-z0-9-]+:\d{12}:imported-model/[a-z0-9]{12}")

Seconds = Annotated[float, BeforeValidator(seconds), Field(ge=0)]


def _as_faults(value: object) -> object:
    return (
        [{"name": item} if isinstance(item, str | int) else item for item in value]
        if isinstance(value, list)
        else value
    )


def _named(value: str) -> str:
    if not _NAME.fullmatch(value) or len(value) > 63:
        msg = "a name has 1 to 63 letters, digits and inner hyphens"
        raise ValueError(msg)
    return value


Faults = Annotated[tuple[Fault, ...], BeforeValidator(_as_faults)]
Name = Annotated[str, AfterValidator(_named)]
_FAULTS: TypeAdapter[tuple[Fault, ...]] = TypeAdapter(Faults)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Credential(_Part):
    """A key pair that signs; they are the emulator's own and open nothing at AWS."""

    access_key_id: str = Field(min_length=1)
    secret_access_key: str = Field(min_length=1)
    session_token: str | None = None


class Price(_Part):
    """What a unit of an import costs from a day on (Custom Model Units, per minute)."""

    since: datetime.date
    usd_per_unit_minute: float = Field(ge=0)


class Limits(_Part):
    """What the services allow; the defaults are AWS's own."""

    unary: Seconds = 60.0
    """Seconds in which a container must answer (developer guide, "your own inference code")."""
    stream: Seconds = 480.0
    """Seconds for a whole stream (hosting FAQ: 8 minutes)."""
    connect: Seconds = 0.25
    """Seconds in which a container must accept a connection (developer guide); real time."""
    ping: Seconds = 2.0
    """Seconds that a container's health check has (developer guide); on the emulator's clock."""
    bedrock: Seconds | None = None
    """Seconds after which an import's answer is ModelTimeoutException; AWS publishes no figure, so none is set."""
    sagemaker_body: int = Field(default=25 * 1024 * 1024, ge=1)
    """Bytes. The hosting FAQ says 25 MB; whether MB or MiB is not known."""
    bedrock_body: int = Field(default=25_000_000, ge=1)
    """Bytes, from the service model."""


class Keep(_Part):
    """What is remembered of the requests seen."""

    calls: int = Field(default=256, ge=0, le=100_000)
    bodies: bool = False
    """Whether bodies up to 1 MiB are kept as well."""


class Cold(_Part):
    """How a model that has no copies gets one."""

    starts: Literal["cold", "warm"] = "warm"
    restore: Seconds = 60.0
    """From the first call that meets it cold until a copy is ready."""
    behaviour: Literal["fail_fast", "hold"] = "fail_fast"
    hold_limit: Seconds = 300.0
    """How long `hold` keeps a call before it answers as `fail_fast` does (Bedrock guide: 5 minutes)."""


class Copies(_Part):
    """How many copies there are and what one of them takes."""

    min: int | None = Field(default=None, ge=0)
    """Never fewer once ready; default 0 for imports and components, 1 for the others."""
    max: int = Field(default=1, ge=1)
    concurrency: int = Field(default=64, ge=1)
    """Calls that one copy works on at a time."""
    queue: int | None = Field(default=None, ge=0)
    """Calls that may wait for a free place before more are refused; default: no limit."""
    scale_out_at: int | None = Field(default=None, ge=1)
    """Calls on each copy beyond which another is started, though they are taken; default: when calls have to wait."""
    scale_out_after: Seconds = 30.0
    start: Seconds = 20.0
    """How long a further copy takes to be ready."""


class Latency(_Part):
    """How long answers take, on the emulator's clock."""

    first_byte: Seconds = 0.0
    per_token: Seconds = 0.0
    spread: float = Field(default=0.0, ge=0, le=3)
    """How far answers differ: the standard deviation of the logarithm of a factor whose mean is 1."""
    crowding: float = Field(default=0.0, ge=0, le=10)
    """What each further call on the same copy adds, as a share: 0.02 makes both times 2 % longer for each."""


class Tokens(_Part):
    """How long answers get when nothing else bounds them."""

    min: int = Field(default=8, ge=1)
    max: int = Field(default=24, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            msg = f"min {self.min} is above max {self.max}"
            raise ValueError(msg)
        return self


Dialect = Literal["openai-chat", "openai-completions", "tgi", "lmi", "bedrock-completion", "echo"]


class ContainerConfig(_Part):
    """A container of one's own, which answers in place of a generated model."""

    url: str = Field(pattern=r"^http://(127\.0\.0\.1|localhost):\d{1,5}$")
    """Where its `/ping` and `/invocations` are; loopback only, like everything here."""


class ModelConfig(_Part):
    """One model and the way it is hosted."""

    kind: Literal["endpoint", "component", "import", "engine"]
    dialect: Dialect | None = None
    """Required, but for a model with a `container`, which speaks for itself."""
    container: ContainerConfig | None = None
    endpoint: Name | None = None
    """The endpoint's name; default: the model's own. A component must say on which endpoint it is."""
    component: Name | None = None
    """The inference component's name; default: the model's own."""
    arn: str | None = None
    variant: Name = "AllTraffic"
    served_model: str | None = None
    """The `model` that answers carry; default: the model's name, for an import `account-id`, as Bedrock does."""
    weights: str = ""
    """Models with the same weights and the same seed say the same text, whatever their hosting."""
    adapters: tuple[str, ...] = ()
    """Engine only: LoRA adapters that are loaded."""
    sessions: Literal["lenient", "strict", "off"] | None = None
    """Stateful sessions of the container: `off` refuses them (an engine's default), `strict` knows its own ids only."""
    cold: Cold = Cold()
    copies: Copies = Copies()
    idle: Seconds | None = None
    """Seconds without a call after which a copy goes; default 300 for an import, never for the others."""
    units: int = Field(default=2, ge=1)
    """Custom Model Units of one copy."""
    latency: Latency = Latency()
    tokens: Tokens = Tokens()
    acknowledged: bool = False
    faults: Faults = ()

    @property
    def service(self) -> str:
        """The face that this model is behind."""
        return {"import": BEDROCK, "engine": ENGINE}.get(self.kind, SAGEMAKER)

    @property
    def minimum(self) -> int:
        """Copies that always stay."""
        if self.copies.min is not None:
            return self.copies.min
        return 0 if self.kind in {"import", "component"} else 1

    @property
    def idle_seconds(self) -> float | None:
        """Seconds without a call after which a copy goes, or None: never."""
        return 300.0 if self.idle is None and self.kind == "import" else self.idle

    @model_validator(mode="after")
    def _whole(self) -> Self:
        problems = [
            *self._answer_problems(),
            *self._kind_problems(),
            *(said for fault in self.faults if (said := fault.complaint(self.service))),
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _answer_problems(self) -> Iterator[str]:
        if (self.container is None) != (self.dialect is not None):
            yield "a model needs either `dialect:` or `container: {url: ...}`"
        if self.container is not None and self.service != SAGEMAKER:
            yield f"`container:` belongs to kinds endpoint and component, not to kind {self.kind}"

    def _kind_problems(self) -> Iterator[str]:
        if self.kind == "component" and self.endpoint is None:
            yield "a component needs `endpoint:`, the name of the endpoint that it is on"
        if self.kind != "component" and self.component is not None:
            yield f"`component:` belongs to kind component, not to kind {self.kind}"
        if self.kind == "import" and not _IMPORT.fullmatch(self.arn or ""):
            yield "an import needs `arn: arn:aws:bedrock:REGION:ACCOUNT:imported-model/` and twelve of [a-z0-9]"
        if self.kind != "import" and self.arn is not None:
            yield f"`arn:` belongs to kind import, not to kind {self.kind}"
        if self.adapters and self.kind != "engine":
            yield f"`adapters:` belongs to kind engine, not to kind {self.kind}"
        if self.dialect == "bedrock-completion" and self.kind != "import":
            yield "dialect bedrock-completion is spoken by imports only"
        if self.kind in {"import", "engine"} and self.dialect in {"tgi", "lmi", "echo"}:
            yield f"dialect {self.dialect} is spoken behind SageMaker endpoints only"
        if self.copies.max < self.minimum:
            yield f"copies.max {self.copies.max} is below copies.min {self.minimum}"


class EmulatorConfig(_Part):
    """The whole file."""

    apiVersion: Literal["pointsman-emulator/v1"]
    account: str = Field(default="123456789012", pattern=r"^\d{12}$")
    region: str = Field(default="us-east-1", min_length=1)
    seed: int = 7
    signatures: Literal["strict", "log", "off"] = "strict"
    credentials: tuple[Credential, ...] = Field(min_length=1)
    prices: tuple[Price, ...] = (Price(since=datetime.date(2026, 7, 1), usd_per_unit_minute=0.05718),)
    limits: Limits = Limits()
    keep: Keep = Keep()
    models: Mapping[Name, ModelConfig] = Field(min_length=1)

    @model_validator(mode="after")
    def _addresses(self) -> Self:
        seen: dict[tuple[str, ...], str] = {}
        dedicated = {m.endpoint or name for name, m in self.models.items() if m.kind == "endpoint"}
        for name, model in self.models.items():
            address = self.address(name)
            if address in seen:
                msg = f"models {seen[address]} and {name} have the same address {' '.join(address)}; rename one"
                raise ValueError(msg)
            if model.kind == "component" and model.endpoint in dedicated:
                msg = f"endpoint {model.endpoint} is dedicated to a model and cannot hold component {name} as well"
                raise ValueError(msg)
            seen[address] = name
        return self

    def address(self, name: str) -> tuple[str, ...]:
        """What clients name to reach a model; unique in a configuration."""
        model = self.models[name]
        match model.kind:
            case "endpoint":
                return ("endpoint", model.endpoint or name)
            case "component":
                return ("component", model.endpoint or name, model.component or name)
            case "import":
                return ("import", model.arn or "")
            case "engine":
                return ("engine", name)


def load_config(text: str, source: str) -> EmulatorConfig:
    """The configuration in `text`; `source` names it in messages. Errors: EmulatorConfigError with every problem."""
    value, lines = read_mapping(text, source)
    try:
        return EmulatorConfig.model_validate(value)
    except ValidationError as error:
        raise EmulatorConfigError(report(error, source, lines, _known_keys())) from error


def load_faults(value: object, service: str) -> tuple[Fault, ...]:
    """Faults as `POST /_emulator/faults` brings them, for a model behind `service`. Errors: EmulatorConfigError."""
    try:
        faults = _FAULTS.validate_python(value)
    except ValidationError as error:
        raise EmulatorConfigError(report(error, "faults", {}, _known_keys())) from error
    problems = [said for fault in faults if (said := fault.complaint(service))]
    if problems:
        raise EmulatorConfigError("\n".join(problems))
    return faults


def _known_keys() -> set[str]:
    parts: tuple[type[BaseModel], ...] = (
        EmulatorConfig,
        ModelConfig,
        ContainerConfig,
        Cold,
        Copies,
        Latency,
        Tokens,
        Limits,
        Keep,
    )
    more: tuple[type[BaseModel], ...] = (Credential, Price, Fault)
    return {key for part in (*parts, *more) for key in part.model_fields}
