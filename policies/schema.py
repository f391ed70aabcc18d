"""The policy exactly as written: one pydantic model per block of YAML, strict, with no key that nothing reads.

The models check what can be seen in one block; what needs two (a name that must exist, a boundary) is `compiling.py`'s.
Descriptions go into the JSON Schema that editors show, and name the unit of every number.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from . import addresses
from .scalars import (
    HEADER_NAME,
    Block,
    ComponentName,
    Dialect,
    Duration,
    DurationRange,
    EndpointName,
    GuardrailId,
    GuardrailVersion,
    Hours,
    IdleLimit,
    ImportedModelArn,
    IsolationName,
    RateText,
    Region,
    RoleArn,
    Share,
    Silence,
    Size,
    TargetName,
    Url,
    Word,
    checked,
)
from .schema_migrate import Migrate


class Retry(Block):
    attempts: int = Field(ge=1, le=10, description="How often a request may be tried in all, the first one included.")
    budget: Share = Field(0.1, description="Repeats as a share of the endpoint's requests: 10%.")


class Hedge(Block):
    after: Silence = Field(
        description="Time without an answer after which a second target is asked as well: 500ms, or p95 for what all "
        "but 5 % of the first one's recent answers took."
    )
    at_least: Duration | None = Field(None, description="With a percentile: the least that it counts for: 20ms.")
    until_known: Duration | None = Field(
        None, description="With a percentile, and then required: the time that holds while too few answers are known."
    )
    budget: Share = Field(0.02, description="Such second attempts as a share of the endpoint's requests: 2%.")


class Defaults(Block):
    timeout: Duration = Field(60.0, description="Deadline of a blocking request, as on SageMaker: 60s.")
    stream_timeout: Duration = Field(480.0, description="Deadline of a whole streamed request, as on SageMaker: 8m.")
    retry: Retry | None = Field(
        None, description="Without it: one attempt for the first choice and each fallback, at least two."
    )


class Role(Block):
    arn: RoleArn = Field(description="Role to assume before signing (STS AssumeRole).")
    external_id: Word | None = Field(None, description="ExternalId of the AssumeRole call.")


class Guardrail(Block):
    id: GuardrailId = Field(description="Identifier or ARN of the guardrail.")
    version: GuardrailVersion = Field(description="A number in quotes, or DRAFT.")


class Cold(Block):
    restore: DurationRange = Field(description="Shortest and longest time a scaled-to-zero copy takes to come back.")
    idle_limit: IdleLimit = Field(None, description="Time without use after which a copy goes; without it: measured.")


class ImportCost(Block):
    """What an imported model is billed by."""

    units: Annotated[int, Field(ge=1, le=1024)] = Field(
        description="Custom model units of one copy: customModelUnitsPerModelCopy of GetImportedModel."
    )
    version: Annotated[str, checked(addresses.units_version_refusal)] = Field(
        "v1.0", description="customModelUnitsVersion of GetImportedModel, which has the price."
    )
    copies: Annotated[int, Field(ge=1, le=1000)] = Field(1, description="Copies that the traffic needs.")


class InstanceCost(Block):
    """What hosting on instances is billed by."""

    instance: Annotated[str, checked(addresses.instance_refusal)] = Field(
        description="Instance type: ml.g6e.xlarge on SageMaker, g6e.xlarge on EC2."
    )
    count: Annotated[int, Field(ge=1, le=10_000)] = Field(1, description="How many of them.")
    share: Annotated[Share, Field(gt=0)] = Field(1.0, description="This target's part of them: 25%.")
    committed: Annotated[int, Field(ge=0, le=10_000)] = Field(
        0, description="How many of them are paid for whether they are used or not."
    )


class Limit(Block):
    """How much of a target may be used at a time."""

    min: int = Field(4, ge=1, le=100_000, description="Requests at a time that are always let through: 4.")
    max: int = Field(1000, ge=1, le=100_000, description="Requests at a time, whatever the target seems to bear: 1000.")
    queue: int = Field(256, ge=0, le=100_000, description="Requests that may wait for their turn: 256.")
    queue_bytes: Size = Field(64 * 1024**2, description="Bytes of bodies that may wait for their turn: 64MiB.")
    wait: Duration = Field(10.0, description="Longest wait for a turn: 10s.")


class Owner(Block):
    """What one owner may ask for, over all endpoints that name it."""

    requests: RateText | None = Field(None, description="Requests, such as 50/s. Without it: any number.")
    tokens: RateText | None = Field(None, description="Tokens as targets count them, such as 100k/min.")


class _Target(Block):
    isolation: IsolationName | None = Field(
        None,
        description="How strongly the target separates data. Without it: instance for a dedicated endpoint and vllm, "
        "container for an inference component and bedrock.",
    )
    accepts_data: list[Word] | None = Field(
        None, min_length=1, description="Classes of data that may go here. Without it: any."
    )
    body_limit: Size | None = Field(
        None, description="Largest request body. Without it: 25MiB, for bedrock 25MB, which is also its most."
    )
    streams: bool = Field(True, description="false: the target cannot stream its answers.")
    cold: Cold | None = Field(None, description="The target may be scaled to zero.")
    connect_timeout: Duration = Field(2.0, description="Longest wait for a connection.")
    first_byte: Duration = Field(60.0, description="Longest wait for the first piece of a streamed answer: 60s.")
    between_chunks: Duration = Field(30.0, description="Longest wait for each next piece of an answer: 30s.")
    limit: Limit = Field(
        Limit(), description="How many requests at a time; it adapts to the target between min and max."
    )


class EndpointTarget(_Target):
    """Anything that speaks InvokeEndpoint: a SageMaker endpoint, an inference component, a component host."""

    kind: Literal["endpoint"]
    endpoint: EndpointName = Field(description="EndpointName to call.")
    component: ComponentName | None = Field(None, description="InferenceComponentName to call on it.")
    region: Region | None = Field(None, description="Region to call and to sign for.")
    url: Url | None = Field(None, description="Base URL to call instead of SageMaker's regional one.")
    sign: bool = Field(True, description="false: no SigV4 signature; only with a url.")
    assume_role: Role | None = Field(None, description="Role to assume before signing.")
    trace_in_custom_attributes: bool = Field(
        False,
        description="Send the trace context inside X-Amzn-SageMaker-Custom-Attributes, for SageMaker drops the header.",
    )
    speaks: Dialect = Field("opaque", description="Dialect of its bodies; opaque: never looked at.")
    cost: InstanceCost | None = Field(None, description="What it runs on, for `pointsman warm plan`.")


class BedrockTarget(_Target):
    """A Bedrock custom model import."""

    kind: Literal["bedrock"]
    model: ImportedModelArn = Field(description="ARN of the imported model.")
    region: Region | None = Field(None, description="Only as a reminder: it must be the ARN's.")
    url: Url | None = Field(None, description="Base URL to call instead of Bedrock's regional one.")
    assume_role: Role | None = Field(None, description="Role to assume before signing.")
    guardrail: Guardrail | None = Field(None, description="Guardrail that Bedrock applies to every call.")
    speaks: Literal["openai-chat", "openai-completions", "bedrock-completion"] = Field(
        description="Which of Bedrock's three body formats the clients of this model use; it cannot be guessed."
    )
    cost: ImportCost | None = Field(None, description="What it is billed by, for `pointsman warm plan`.")


class VllmTarget(_Target):
    """An engine with OpenAI's API: vLLM, or one that speaks like it."""

    kind: Literal["vllm"]
    url: Url | None = Field(None, description="Base URL of the engine.")
    urls: list[Url] | None = Field(None, min_length=1, description="Base URLs of replicas of one another.")
    model: Word = Field(description="Model name the engine serves.")
    adapter: Word | None = Field(None, description="LoRA adapter to ask for instead of the base model.")
    region: Region | None = Field(None, description="Where it runs, for boundaries that name regions.")
    speaks: Dialect = Field("opaque", description="Dialect of its bodies; opaque: never looked at.")
    cost: InstanceCost | None = Field(None, description="What it runs on, for `pointsman warm plan`.")


def _kind(value: Any) -> str | None:  # Any: pydantic hands over whatever was written
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return kind if isinstance(kind, str) else None


Target = Annotated[
    Annotated[EndpointTarget, Tag("endpoint")]
    | Annotated[BedrockTarget, Tag("bedrock")]
    | Annotated[VllmTarget, Tag("vllm")],
    Discriminator(_kind),
]


class Data(Block):
    class_: Word | None = Field(None, alias="class", description="Class of data the route carries.")
    isolation: IsolationName | None = Field(
        None, description="Weakest isolation the data may go to. Without it: shared."
    )
    regions: list[Region] | None = Field(None, min_length=1, description="Regions the data may go to. Without it: any.")


class Translate(Block):
    prompt_as: Literal["user-message"] | None = Field(
        None, description="user-message: a prompt may go to a chat target, as its one user message."
    )
    chat_template: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None,
        description="File with the Jinja chat template of the model, relative to the policy: chats become prompts.",
    )
    drop: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=128)]] | None = Field(
        None, min_length=1, description="Keys to leave out when the target's dialect has nothing for them."
    )


class Expect(Block):
    session: Word | None = Field(None, description="X-Amzn-SageMaker-Session-Id of the request.")
    inference_id: Word | None = Field(None, description="X-Amzn-SageMaker-Inference-Id of the request.")
    header: dict[Annotated[str, Field(pattern=f"^{HEADER_NAME}$")], Word] | None = Field(
        None, min_length=1, description="Header fields of the request."
    )
    goes_to: TargetName = Field(description="Target that the request goes to first.")


class Handler(Block):
    """The customer's own code around the model."""

    path: Annotated[str, Field(min_length=1, max_length=4096)] = Field(
        description="The customer's model.py; a relative path starts at the policy's own folder."
    )
    run: Literal["inline", "thread", "process"] = Field(
        "process",
        description="Where it runs: in the proxy's event loop, in threads beside it, or in processes of its own.",
    )
    timeout: Duration = Field(5.0, description="Limit of one hook; time spent in call.invoke does not count. 5s.")
    workers: Annotated[int, Field(ge=1, le=64)] = Field(
        2, description="Threads or processes: as many hooks run at a time. Without a meaning inline."
    )
    fail_after: Annotated[int, Field(ge=1, le=64)] = Field(
        2, description="Threads lost to hooks that hang, or workers that died in a row, after which requests fail fast."
    )
    memory: Size = Field(1024**3, description="Resident memory at which a worker process is replaced: 1GiB.")


class Warm(Block):
    """How one target is kept warm."""

    every: Duration = Field(840.0, description="Time without use after which a warm-up is due: 14m.")
    jitter: Share = Field(0.1, description="Up to this share earlier, drawn each time, never later: 10%.")
    copies: Annotated[int, Field(ge=1, le=16)] = Field(1, description="Copies to keep: as many warm-ups at a time.")
    hours: Hours | None = Field(None, description="When the warmer is on duty. Without it: always.")


class _Shared(Block):
    """Keys that a component takes from its endpoint when it does not give its own."""

    owner: Word | None = Field(None, description="Who answers for it.")
    shed: Literal["first", "normal", "last"] | None = Field(None, description="Who gives way under overload.")
    wave: Annotated[int, Field(ge=0, le=1000)] | None = Field(None, description="Order of migration.")
    data: Data | None = Field(None, description="Where its data may go. It binds fallbacks as well.")
    clients_speak: Dialect | None = Field(None, description="Dialect of its clients' bodies; opaque: never looked at.")
    translate: Translate | None = Field(
        None, description="What may be done where a target speaks another dialect than the clients."
    )
    sticky_by: (
        Annotated[str, Field(pattern=f"^(session|inference-id|none|header:{HEADER_NAME}|prefix:[1-9][0-9]{{0,6}})$")]
        | None
    ) = Field(
        None,
        description="What keeps a caller on one side of a split: session, inference-id, header:<name>, "
        "prefix:<bytes> of the body, or none.",
    )
    timeout: Duration | None = Field(None, description="Deadline of a blocking request.")
    stream_timeout: Duration | None = Field(None, description="Deadline of a whole streamed request.")
    retry: Retry | None = Field(None, description="How often a request may be tried.")
    idempotent: bool | None = Field(
        None, description="true: a request may be sent again although an earlier attempt may have run."
    )
    hedge: Hedge | None = Field(
        None, description="Ask a second warm target when the first is slow; the first answer wins. Wants idempotent."
    )
    handler: Handler | None = Field(None, description="The customer's pre- and post-processing (model.py).")
    when_cold: Literal["spill", "hold", "fail"] | None = Field(
        None,
        description="What becomes of a request whose target is cold: spill to a fallback, hold until it is back, or "
        "fail at once. Without it: spill where there is a fallback, else fail.",
    )
    cold_status: Literal[429, 503] | None = Field(
        None,
        description="Status of a request that fails for cold. Without it: 429, and a component's 400, as on SageMaker.",
    )


class Component(_Shared):
    """What the policy says of one InferenceComponentName."""

    serve_from: TargetName | None = Field(None, description="The one target that serves it.")
    split: dict[TargetName, Annotated[float, Field(ge=0, le=1_000_000)]] | None = Field(
        None, min_length=1, description="Targets with weights; a target's share is its weight over the sum."
    )
    fallback: list[TargetName] | None = Field(None, description="Targets to try next, in this order.")
    last_resort: TargetName | None = Field(None, description="Target to try when all the others are ejected.")
    warm: dict[TargetName, Warm] | None = Field(
        None, min_length=1, description="Targets to keep warm, inside the route's data boundary."
    )
    migrate: Migrate | None = Field(None, description="How it moves from serve_from to another target.")
    expect: list[Expect] | None = Field(None, description="Tests of the policy itself, run by `pointsman test`.")


class Endpoint(Component):
    """What the policy says of one EndpointName: serve_from, split, or components."""

    components: dict[ComponentName, Component] | None = Field(
        None, min_length=1, description="One block for each InferenceComponentName that clients send."
    )


class Policy(Block):
    """Pointsman's policy: which hosting answers for which endpoint."""

    api_version: Literal["pointsman/v1"] = Field(alias="apiVersion", description="Version of this format.")
    account: Annotated[str, Field(pattern=r"^[0-9]{12}$")] = Field(
        description="AWS account, in quotes; it stands in error messages that clients match."
    )
    defaults: Defaults = Field(Defaults(), description="What holds for every endpoint that says nothing else.")
    owners: dict[Word, Owner] | None = Field(None, min_length=1, description="What owners of endpoints may ask for.")
    targets: dict[TargetName, Target] = Field(description="Every hosting that may answer.")
    endpoints: dict[EndpointName, Endpoint] = Field(description="Every EndpointName that clients send.")
