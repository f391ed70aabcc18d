"""Which dialect's requests can be carried to which target, and on whose word. Data and one question; no translation.

Dialects are declared, never guessed from a model's name or a body. Two shapes of request exist: a prompt (text that
may already hold a chat template's marks) and a chat (messages that a template is still to be applied to). Between
dialects of one shape translation is free. From one shape to the other it changes what the model reads, so the policy
has to say how: a prompt becomes one user message only with `prompt_as: user-message`, since a template would then be
applied to it; a chat becomes a prompt only with the template that the model was trained with, as `chat_template`.

Opaque bodies are never looked at: a route with `opaque` on one side passes bytes.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

from .table import TranslateRule

OPAQUE = "opaque"
USER_MESSAGE = "user-message"
"""The one word that `prompt_as` knows."""

DIALECTS = ("openai-chat", "openai-completions", "bedrock-completion", "tgi", "lmi", OPAQUE)


class Shape(enum.Enum):
    """What a request holds for the model to read."""

    PROMPT = "prompt"
    CHAT = "chat"


SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        "openai-chat": Shape.CHAT,
        "openai-completions": Shape.PROMPT,
        "bedrock-completion": Shape.PROMPT,
        "tgi": Shape.PROMPT,
        "lmi": Shape.PROMPT,
    }
)


class Passage(enum.Enum):
    """How requests of one dialect get to a target of another."""

    BYTES = "as bytes"
    FREE = "translated"
    PROMPT_AS = "with `prompt_as: user-message`"
    CHAT_TEMPLATE = "with `chat_template: FILE`"


def passage(client: str, target: str) -> Passage:
    """The matrix of docs/dialects.md: what it takes to bring `client`'s requests to a target that speaks `target`."""
    if client == target or OPAQUE in (client, target):
        return Passage.BYTES
    if SHAPES[client] is SHAPES[target]:
        return Passage.FREE
    return Passage.PROMPT_AS if SHAPES[target] is Shape.CHAT else Passage.CHAT_TEMPLATE


def impossible(client: str, target: str, rule: TranslateRule) -> str | None:
    """Why a route whose clients speak `client` cannot use a target that speaks `target`; None when it can.

    The words name the remedy, and are for the policy's report.
    """
    match passage(client, target):
        case Passage.PROMPT_AS if rule.prompt_as != USER_MESSAGE:
            return (
                f"a prompt of {client} becomes a chat only on the policy's word, since the model's chat template would "
                "be applied to it: say `translate: {prompt_as: user-message}` if clients send bare text, or use a "
                "target that reads prompts"
            )
        case Passage.CHAT_TEMPLATE if rule.chat_template is None:
            return (
                f"a chat of {client} becomes a prompt only by the model's own chat template: give it as `translate: "
                "{chat_template: FILE}`, or use a target that speaks openai-chat"
            )
        case _:
            return None
