"""Every client over every face, kind of hosting and pair of dialects that the policy allows, whole and streamed.

One request per cell, always the same question. What is held of each: the client is content, the answer is in the
client's dialect and not empty, a stream comes as one event a part, and the text is the one that every other client
gets by every other face, in one piece or streamed. Each client is one process a face for all its cells.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import pytest

from backends.emulator.text import count_tokens
from policies import schema
from policies.dialects import DIALECTS
from tests.backends.wire.dialects.vectors import LEAST, TEMPLATE, text_of, with_parameters
from tests.environments import Say
from tests.standins import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, config_of, emulator_in_thread

from .clients import DRIVERS, STREAMING, Client, running_client
from .matrix import BLOCKING_ONLY, CLIENTS, FACES, KINDS, TOKENS, Cell, Way, cells, ways
from .openai_package import CHAT, TEXT, Package, running_package
from .serving import running_proxy
from .speaking import Speaking, speaking
from .test_container import container

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180, func_only=True)]


@dataclass(slots=True)
class Faces:
    """Where each face is reached."""

    runtime: str
    container: str
    """The stand-in of the platform; its endpoint `inside` is our container."""
    heard: dict[Way, str] = field(default_factory=dict)
    """The first text that came each way; every later one has to be the same."""


@pytest.fixture(scope="module")
def models() -> Iterator[Speaking]:
    """A model for each way."""
    with speaking() as running:
        yield running


@pytest.fixture(scope="module")
def faces(models: Speaking, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faces]:
    """One policy, served beside the clients and as a container inside the stand-in of the platform."""
    beside, inside = tmp_path_factory.mktemp("beside"), tmp_path_factory.mktemp("inside")
    for folder in (beside, inside):
        (folder / "chat.jinja").write_text(TEMPLATE)
    with (
        running_proxy(beside, models.policy) as proxy,
        container(inside, models.policy, "--endpoint-attribute", "route") as (_, port),
        emulator_in_thread(
            config_of({"inside": {"kind": "endpoint", "container": {"url": f"http://127.0.0.1:{port}"}}})
        ) as platform,
    ):
        yield Faces(proxy.url, platform.url)


@dataclass(frozen=True, slots=True)
class Got:
    """What one client made of one cell."""

    error: object
    text: str
    parts: int | None = None
    """How many pieces a stream came in; None where the client does not show them as they are."""


Ask = Callable[[Cell], Got]


@contextlib.contextmanager
def by_sdk(name: str, face: str, faces: Faces, say: Say) -> Iterator[Ask]:
    """A client of SageMaker's API at one of the two faces that speak it."""
    url = faces.runtime if face == "runtime" else faces.container
    variables = {
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    with running_client(name, variables, say=say) as client:
        yield lambda cell: _called(client, cell)


def _called(client: Client, cell: Cell) -> Got:
    route, said = cell.way.name, cell.way.said
    addresses = {"runtime": {"EndpointName": route}}
    addresses["container"] = {"EndpointName": "inside", "CustomAttributes": f"route={route}"}
    body = with_parameters(said, stream=True) if cell.streamed else LEAST[said]
    params = {**addresses[cell.face], "ContentType": "application/json"}
    answer = client.call(params, json.dumps(body).encode(), stream=cell.streamed)
    if answer.error is not None:
        return Got(answer.error, "")
    text = text_of(said, answer.joined if cell.streamed else answer.body, streamed=cell.streamed)
    ends = b"\n" if said == "lmi" else b"\n\n"
    halves = [part for part in answer.parts if not part.endswith(ends) or part.count(ends) != 1]
    return Got(f"parts that are no events: {halves}" if halves else None, text, len(answer.parts))


@contextlib.contextmanager
def by_package(name: str, face: str, faces: Faces, say: Say) -> Iterator[Ask]:
    """OpenAI's package; every cell by both URLs, which have to agree."""
    with running_package(say) as package:

        def ask(cell: Cell) -> Got:
            plain = _completed(package, f"{faces.runtime}/v1", cell.way.name, cell)
            named = _completed(package, f"{faces.runtime}/endpoints/{cell.way.name}/openai/v1", "", cell)
            return plain if plain == named else Got(f"the two URLs differ: {plain} and {named}", "")

        yield ask


def _completed(package: Package, url: str, model: str, cell: Cell) -> Got:
    method = CHAT if cell.way.said == "openai-chat" else TEXT
    more = {"stream": True} if cell.streamed else {}
    parts, done = package(url, method, **(LEAST[cell.way.said] | {"model": model} | more))
    if done["error"] is not None:
        return Got(done["error"], "")
    documents = parts if cell.streamed else [done["answer"]]
    lines = b"\n".join(json.dumps(one).encode() for one in documents)
    return Got(None, text_of(cell.way.said, lines, streamed=cell.streamed), len(parts))


def complaint(cell: Cell, got: Got, heard: dict[Way, str]) -> str | None:
    """What is wrong with an answer; None when nothing is."""
    if got.error is not None:
        return f"{cell}: {got.error}"
    if not 0 < count_tokens(got.text) <= TOKENS:
        return f"{cell}: {TOKENS} tokens were asked for, and {got.text!r} came"
    if cell.streamed and got.parts is not None and got.parts < count_tokens(got.text):
        return f"{cell}: {got.parts} parts for {got.text!r}"
    first = heard.setdefault(cell.way, got.text)
    return None if got.text == first else f"{cell}: {got.text!r}, and elsewhere {first!r}"


@pytest.mark.parametrize("name", CLIENTS)
def test_client_in_every_cell(name: str, faces: Faces, say: Say) -> None:
    """Each is answered, and each pair of dialects says the same by every face, whole and streamed."""
    wrong: list[str] = []
    done = 0
    for face in CLIENTS[name]:
        start = by_package if face == "openai" else by_sdk
        with start(name, face, faces, say) as ask:
            for cell in cells(name):
                if cell.face == face:
                    done += 1
                    wrong += filter(None, [complaint(cell, ask(cell), faces.heard)])
    assert wrong == []
    say(f"contract: {name} was answered in {done} cells")


def test_the_cells_are_what_the_policy_allows(models: Speaking) -> None:
    """Every kind of the schema, all it may speak, every dialect of clients: and the policy of it loads as it stands."""
    kinds = {get_args(kind.model_fields["kind"].annotation)[0] for kind in get_args(get_args(schema.Target)[0])}
    assert set(KINDS) == kinds
    assert {way.client for way in ways()} == {way.target for way in ways()} == set(DIALECTS)
    assert len(ways()) == len(DIALECTS) * sum(len(spoken) for spoken in KINDS.values())


def test_every_client_is_in_the_matrix() -> None:
    """A client that the other contract tests know is here, with every face that it can speak."""
    assert set(CLIENTS) == {*DRIVERS, "openai"}
    assert {face for spoken in CLIENTS.values() for face in spoken} == set(FACES)
    assert set(DRIVERS) - set(STREAMING) == BLOCKING_ONLY


def test_the_page_tells_how_many_there_are() -> None:
    """docs/dialects.md counts the cells of all clients."""
    page = (Path(__file__).parents[2] / "docs" / "dialects.md").read_text()
    assert f"{sum(len(list(cells(name))) for name in CLIENTS):,} cells" in page
