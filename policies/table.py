"""The compiled policy: frozen routes and targets, looked up once per request.

`load.py` builds these from YAML and has checked them; nothing here reads a file or guesses a default. All times are
seconds, all sizes bytes, all shares fractions of 1.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from .calendar import Calendar
from .limits import Bounds
from .migrating import Migration, Shift
from .quotas import Quota


class Isolation(enum.IntEnum):
    """How strongly a target separates this tenant's data from others; a larger value satisfies a smaller demand."""

    SHARED = 0
    CONTAINER = 1
    INSTANCE = 2


@dataclass(frozen=True, slots=True)
class Boundary:
    """Where a route's data may go. It binds fallbacks as much as first choices."""

    data_class: str | None = None
    isolation: Isolation = Isolation.SHARED
    regions: frozenset[str] = frozenset()
    """Empty: any region."""

    def refusal(self, target: Target) -> str | None:
        """Why `target` lies outside this boundary, in words for an operator; None when it lies inside."""
        why = []
        if target.isolation < self.isolation:
            why.append(f"isolation is {target.isolation.name.lower()}, the route demands {self.isolation.name.lower()}")
        if self.regions and target.region not in self.regions:
            allowed = ", ".join(sorted(self.regions))
            why.append(f"region is {target.region or 'not declared'}, the route allows {allowed}")
        if self.data_class and target.data_classes and self.data_class not in target.data_classes:
            taken = ", ".join(sorted(target.data_classes))
            why.append(f"classes of data are {taken}, the route carries {self.data_class}")
        return "; its ".join(why) or None


@dataclass(frozen=True, slots=True)
class AssumedRole:
    """A role to assume before signing (STS AssumeRole)."""

    arn: str
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """Anything that speaks InvokeEndpoint."""

    endpoint: str
    component: str | None = None
    url: str | None = None
    """Base URL instead of SageMaker's regional host; no trailing slash."""
    sign: bool = True
    role: AssumedRole | None = None
    trace_attributes: bool = False
    """Write `traceparent` into CustomAttributes (headers other than the contract's do not survive SageMaker)."""


@dataclass(frozen=True, slots=True)
class BedrockSpec:
    """A Bedrock custom model import."""

    model: str
    """ARN of the imported model."""
    url: str | None = None
    role: AssumedRole | None = None
    guardrail: str | None = None
    guardrail_version: str | None = None


@dataclass(frozen=True, slots=True)
class VllmSpec:
    """An OpenAI-compatible engine. `urls` are replicas of one another."""

    urls: tuple[str, ...]
    model: str
    adapter: str | None = None


Spec = EndpointSpec | BedrockSpec | VllmSpec


@dataclass(frozen=True, slots=True)
class ImportCost:
    """What an imported model's bill is made of, its price aside."""

    units: int
    """Custom model units of one copy (GetImportedModel: customModelUnitsPerModelCopy)."""
    version: str = "v1.0"
    """The units' version, which has the price (customModelUnitsVersion)."""
    copies: int = 1
    """Copies that the traffic needs."""


@dataclass(frozen=True, slots=True)
class InstanceCost:
    """What the bill of a hosting on instances is made of, their price aside."""

    instance: str
    """Instance type: `ml.g6e.xlarge` on SageMaker, `g6e.xlarge` on EC2."""
    count: int = 1
    share: float = 1.0
    """This target's part of the instances, in (0, 1]."""
    committed: int = 0
    """How many of `count` are paid for whether they are used or not."""


@dataclass(frozen=True, slots=True)
class LimitRule:
    """How much of a target may be used at a time, and who may wait for it."""

    bounds: Bounds = field(default_factory=Bounds)
    queue: int = 256
    """Requests that may wait."""
    queue_bytes: int = 64 * 1024 * 1024
    """Bytes of bodies that may wait."""
    wait: float = 10.0
    """Seconds that one may wait."""

    def part(self, workers: int) -> LimitRule:
        """The rule for each of so many processes; each may send one request at least."""
        if workers == 1:
            return self
        least, most = max(1, self.bounds.least // workers), max(1, self.bounds.most // workers)
        queue = max(1, self.queue // workers) if self.queue else 0
        return LimitRule(Bounds(least, most), queue, self.queue_bytes // workers, self.wait)


@dataclass(frozen=True, slots=True)
class Target:
    """One hosting of one model."""

    name: str
    kind: str
    """`endpoint`, `bedrock` or `vllm`: the key of the backend that serves it."""
    spec: Spec
    speaks: str = "opaque"
    region: str | None = None
    isolation: Isolation = Isolation.INSTANCE
    data_classes: frozenset[str] = frozenset()
    """Empty: data of any class."""
    body_limit: int = 25 * 1024 * 1024
    """Largest request body the target accepts, in bytes."""
    streams: bool = True
    restore: tuple[float, float] | None = None
    """Shortest and longest cold start that the policy declares, in seconds."""
    idle_limit: float | None = None
    """Seconds without use after which a copy goes, as the policy declares it; None: it is measured."""
    connect_timeout: float = 2.0
    first_byte: float = 60.0
    """Seconds that the first piece of a streamed answer is waited for."""
    between_chunks: float = 30.0
    """Seconds that each next piece of an answer is waited for."""
    limit: LimitRule = LimitRule()
    cost: ImportCost | InstanceCost | None = None
    """What it runs on; None: not declared. Nothing on a request's way reads it."""
    source_line: int = field(default=0, compare=False)
    """Line of the policy file; it does not make two targets different."""

    replicas: int = field(init=False, compare=False, default=1)
    """How many interchangeable copies this process chooses between; the other kinds balance on their side."""

    def __post_init__(self) -> None:
        if isinstance(self.spec, VllmSpec):
            object.__setattr__(self, "replicas", len(self.spec.urls))


@dataclass(frozen=True, slots=True)
class Weighted:
    """A target with its share of a split; a weight of 0 takes no traffic."""

    target: Target
    weight: float


@dataclass(frozen=True, slots=True)
class Warmup:
    """How a target is kept warm."""

    target: Target
    every: float = 840.0
    """Seconds without use after which a warm-up is due."""
    jitter: float = 0.1
    """It comes up to this share of `every` earlier, never later."""
    copies: int = 1
    """So many warm-ups at the same time."""
    hours: Calendar | None = None
    """When it is on duty; None: always."""


@dataclass(frozen=True, slots=True)
class RetryRule:
    """How often a request may be tried in all, the first attempt included."""

    attempts: int = 2
    budget: float = 0.1
    """Repeats as a share of the route's requests."""


@dataclass(frozen=True, slots=True)
class HedgeRule:
    """When a request that waits is sent to a second place as well."""

    after: float
    """Seconds without an answer. With a `percentile`: while too few answers are known."""
    budget: float = 0.02
    """Hedges as a share of the route's requests."""
    percentile: int | None = None
    """Of the target's recent answers to the route's requests: what takes longer than so many in a hundred is slow."""
    floor: float = 0.0
    """Seconds that the percentile counts for at least."""


@dataclass(frozen=True, slots=True)
class Sticky:
    """What keeps a caller on one side of a split."""

    by: str = "none"
    """`session`, `inference-id`, `header`, `prefix` or `none`."""
    header: str | None = None
    """Lower-case name when `by` is `header`."""
    prefix: int = 0
    """Bytes of the body when `by` is `prefix`."""


@dataclass(frozen=True, slots=True)
class HandlerSpec:
    """The customer's code around a model, and where it runs. Two routes with equal specs share its workers."""

    path: str
    """As written in the policy; a relative one starts at the policy's own folder."""
    run: str = "process"
    """`inline`, `thread` or `process`."""
    timeout: float = 5.0
    """Seconds that one hook may take, time in `call.invoke` left out."""
    workers: int = 2
    """Threads or processes at most."""
    fail_after: int = 2
    """Lost threads, or deaths of workers in a row, after which requests fail at once."""
    memory: int = 1024**3
    """Resident bytes at which a worker process is replaced."""
    source_line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class TranslateRule:
    """What the policy allows where a target speaks another dialect than the route's clients."""

    prompt_as: str | None = None
    """`user-message`: a prompt may become the one user message of a chat."""
    chat_template: str | None = None
    """Text of the Jinja template by which a chat may become a prompt."""
    drop: frozenset[str] = frozenset()
    """Keys that may be left out when they cannot be carried; every other such key refuses the request."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """One case of a policy's own tests: a request with these marks goes to that target first."""

    goes_to: str
    session_id: str | None = None
    inference_id: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    source_line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Route:
    """What the policy says of one endpoint, or of one inference component of it."""

    endpoint: str
    component: str | None
    serve: tuple[Weighted, ...]
    fallback: tuple[Target, ...] = ()
    clients_speak: str = "opaque"
    translate: TranslateRule = TranslateRule()
    boundary: Boundary = Boundary()
    sticky: Sticky = Sticky()
    timeout: float = 60.0
    stream_timeout: float = 480.0
    retry: RetryRule = RetryRule()
    idempotent: bool = False
    """True: a request may be sent again although an earlier attempt may have run."""
    hedge: HedgeRule | None = None
    owner: str | None = None
    wave: int | None = None
    shed: str = "normal"
    """`first`, `normal` or `last`: who gives way under overload."""
    source_line: int = 0
    """Line of the policy file, for `explain`."""
    rule: str = ""
    """The policy path that decided, e.g. `endpoints.inline.split`."""
    expect: tuple[Expectation, ...] = ()
    handler: HandlerSpec | None = None
    quota: Quota | None = None
    """What its owner may ask for, over all routes of the owner."""
    last_resort: Target | None = None
    """Tried when every other target is ejected."""
    when_cold: str = "spill"
    """What becomes of a request whose target is cold: `spill`, `hold` or `fail`; spill with nowhere to go fails."""
    cold_status: int | None = None
    """429 or 503 for a request that fails for cold; None: as the contract that is served has it."""
    warm: tuple[Warmup, ...] = ()
    """Inside the boundary: a warm-up asks the model that the route's data goes to, in its name."""
    candidate: Target | None = None
    """What the policy says it migrates to. A place of the route's sessions from the first to the last, and no other."""
    shift: Shift | None = None
    """What a migration does to it now, which is in `serve` already (`overlay.laid`); None: nothing."""
    admitted: tuple[Weighted, ...] = field(init=False, compare=False, default=())
    """First choices inside the boundary that take traffic. Plans are made of these and `reserves`, of nothing else."""
    reserves: tuple[Target, ...] = field(init=False, compare=False, default=())
    """Fallbacks inside the boundary, in their order."""
    body_limit: int = field(init=False, compare=False, default=0)
    """Bytes of the longest request body that any of them takes; 0 when there is none of them."""
    targets: tuple[Target, ...] = field(init=False, compare=False, default=())
    """Every target of the route once, first choices before fallbacks; what it migrates to is the last."""
    sole: Target | None = field(init=False, compare=False, default=None)
    """The only target there is, where there is nothing to choose: neither another one nor another copy."""
    key: str = field(init=False, compare=False, default="")
    """`endpoint` or `endpoint/component`: the name in logs, metrics and the OpenAI face."""

    def __post_init__(self) -> None:
        # Here and not in the loader, so that no way of making a Route can get around the boundary.
        inside = tuple(one for one in self.serve if one.weight > 0 and self.boundary.refusal(one.target) is None)
        object.__setattr__(self, "admitted", inside)
        spare = {target.name: target for target in self.fallback if self.boundary.refusal(target) is None}
        object.__setattr__(self, "reserves", tuple(spare.values()))
        places = (*(one.target for one in inside), *spare.values())
        object.__setattr__(self, "body_limit", max((target.body_limit for target in places), default=0))
        if self.last_resort is not None and self.boundary.refusal(self.last_resort) is not None:
            object.__setattr__(self, "last_resort", None)
        warm = tuple(one for one in self.warm if self.boundary.refusal(one.target) is None)
        object.__setattr__(self, "warm", warm)
        seen = {weighted.target.name: weighted.target for weighted in self.serve}
        for target in (*self.fallback, *([self.last_resort] if self.last_resort else [])):
            seen.setdefault(target.name, target)
        if len(seen) == len(inside) == 1 and inside[0].target.replicas == 1:
            object.__setattr__(self, "sole", inside[0].target)
        if self.candidate is not None:
            seen.setdefault(self.candidate.name, self.candidate)
        object.__setattr__(self, "targets", tuple(seen.values()))
        key = self.endpoint if self.component is None else f"{self.endpoint}/{self.component}"
        object.__setattr__(self, "key", key)


class Miss(enum.Enum):
    """Why a lookup found no route; each is a ValidationError with a text that clients match."""

    UNKNOWN_ENDPOINT = "unknown endpoint"
    COMPONENT_REQUIRED = "component required"
    COMPONENT_NOT_ALLOWED = "component not allowed"
    UNKNOWN_COMPONENT = "unknown component"


@dataclass(frozen=True, slots=True)
class RouteTable:
    """A whole policy, compiled. A reload builds a new one and swaps one reference."""

    account: str
    routes: Mapping[tuple[str, str | None], Route]
    targets: Mapping[str, Target]
    digest: str
    """First 12 hex digits of the SHA-256 of the resolved policy."""
    endpoints: frozenset[str] = field(default=frozenset())
    migrations: Mapping[str, Migration] = field(default_factory=dict)
    """By name: the group's, else the route's key."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "routes", MappingProxyType(dict(self.routes)))
        object.__setattr__(self, "targets", MappingProxyType(dict(self.targets)))
        object.__setattr__(self, "migrations", MappingProxyType(dict(self.migrations)))
        object.__setattr__(self, "endpoints", frozenset(endpoint for endpoint, _ in self.routes))

    def lookup(self, endpoint: str, component: str | None) -> Route | Miss:
        """The route of one request, or why there is none. Names match in their exact case, as on SageMaker."""
        route = self.routes.get((endpoint, component))
        if route is not None:
            return route
        if endpoint not in self.endpoints:
            return Miss.UNKNOWN_ENDPOINT
        if component is None:
            return Miss.COMPONENT_REQUIRED
        if (endpoint, None) in self.routes:
            return Miss.COMPONENT_NOT_ALLOWED
        return Miss.UNKNOWN_COMPONENT
