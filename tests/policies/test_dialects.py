"""Which dialect gets to which target, and what a policy has to say for it."""

from __future__ import annotations

import itertools

import pytest

from policies.dialects import DIALECTS, OPAQUE, SHAPES, Passage, Shape, impossible, passage
from policies.errors import PolicyError
from policies.load import load_policy
from policies.table import RouteTable, TranslateRule
from tests.policies.written import load, policy, problems

PAIRS = list(itertools.product(DIALECTS, DIALECTS))
TARGETS = "chat: {kind: vllm, url: http://e, model: m, speaks: openai-chat}\n"
TEXT = "text: {kind: vllm, url: http://e, model: m, speaks: openai-completions}\n"


def test_every_dialect_but_opaque_has_a_shape() -> None:
    """Whether a dialect's requests are prompts or chats is known for each; opaque ones are never looked at."""
    assert set(SHAPES) == set(DIALECTS) - {OPAQUE}


@pytest.mark.parametrize(("client", "target"), PAIRS)
def test_only_what_changes_the_models_reading_needs_a_word(client: str, target: str) -> None:
    """Same dialect or opaque is bytes, same shape is free, and each change of shape needs its own word."""
    found = passage(client, target)
    bare, worded = TranslateRule(), TranslateRule(prompt_as="user-message")
    templated = TranslateRule(chat_template="{{ messages }}")
    free = impossible(client, target, bare) is None
    assert free == (found in (Passage.BYTES, Passage.FREE))
    assert (impossible(client, target, worded) is None) == (free or found is Passage.PROMPT_AS)
    assert (impossible(client, target, templated) is None) == (free or found is Passage.CHAT_TEMPLATE)
    if OPAQUE not in (client, target) and client != target:
        assert free == (SHAPES[client] is SHAPES[target])


@pytest.mark.parametrize(
    ("client", "target", "remedy"),
    [
        ("tgi", "openai-chat", "translate: {prompt_as: user-message}"),
        ("openai-chat", "lmi", "translate: {chat_template: FILE}"),
    ],
)
def test_the_refusal_names_the_remedy(client: str, target: str, remedy: str) -> None:
    """A person who reads the report knows what to write."""
    assert remedy in (impossible(client, target, TranslateRule()) or "")


def test_shapes_are_two() -> None:
    """There are prompts and chats."""
    assert set(SHAPES.values()) == set(Shape)


def test_prompt_as_is_the_policys_word() -> None:
    """With `prompt_as` a policy sends prompts to a chat target, and the route carries the rule."""
    written = "x: {serve_from: chat, clients_speak: tgi, translate: {prompt_as: user-message, drop: [watermark]}}"
    route = load(policy(written, TARGETS)).routes["x", None]
    assert route.translate == TranslateRule("user-message", None, frozenset({"watermark"}))


def test_template_is_read_beside_the_policy() -> None:
    """`chat_template` names a file; its text stands in the route and counts in the digest."""
    text = policy("x: {serve_from: text, clients_speak: openai-chat, translate: {chat_template: t.jinja}}", TEXT)

    def table(said: str) -> RouteTable:
        return load_policy(text, {}, read_file=lambda name: f"{name} {said}")

    tables = [table("1"), table("2"), table("1")]
    assert [table.routes["x", None].translate.chat_template for table in tables] == [
        "t.jinja 1",
        "t.jinja 2",
        "t.jinja 1",
    ]
    assert tables[0].digest == tables[2].digest != tables[1].digest


def test_a_template_is_read_once() -> None:
    """Many endpoints of one model may name the same file."""
    rule = "{serve_from: text, clients_speak: openai-chat, translate: {chat_template: t.jinja}}"
    reads: list[str] = []

    def read(name: str) -> str:
        reads.append(name)
        return "text"

    load_policy(policy(f"x: {rule}\ny: {rule}", TEXT), {}, read_file=read)
    assert reads == ["t.jinja"]


def test_template_that_cannot_be_read_is_a_problem_with_its_line() -> None:
    """A missing file, or a policy from where there are no files, is said at the key."""
    text = policy("x: {serve_from: text, clients_speak: openai-chat, translate: {chat_template: t.jinja}}", TEXT)
    assert [path for _, path, _ in problems(text)] == ["endpoints.x.translate.chat_template"]

    def read(name: str) -> str:
        raise FileNotFoundError(2, "No such file or directory", name)

    with pytest.raises(PolicyError, match=r"t\.jinja cannot be read: No such file or directory"):
        load_policy(text, {}, read_file=read)

    def garbled(name: str) -> str:
        raise ValueError("is not UTF-8")

    with pytest.raises(PolicyError, match=r"t\.jinja is not UTF-8"):
        load_policy(text, {}, read_file=garbled)


def test_components_take_the_endpoints_rule() -> None:
    """`translate` is inherited, and a component's own replaces it."""
    written = """
    x:
      clients_speak: tgi
      translate: {prompt_as: user-message}
      components:
        plain: {serve_from: chat}
        own: {serve_from: chat, translate: {prompt_as: user-message, drop: [seed]}}
    """
    routes = load(policy(written, TARGETS)).routes
    assert routes["x", "plain"].translate.drop == frozenset()
    assert routes["x", "own"].translate.drop == {"seed"}
