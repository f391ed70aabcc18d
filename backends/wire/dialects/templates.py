"""Chat templates: a chat rendered as the prompt that the model was trained to read, in the sandbox of `sandbox`.

The template is the policy's, the messages are a caller's: messages are data to it, never code. Bounded are the size of
the template and of what comes out, the number of pieces it comes in, and the work it takes. A template is rendered once
when the policy is loaded.

Variables are those of Hugging Face's convention: `messages`, `add_generation_prompt`, `tools` and `documents` (none
unless given), `bos_token` (empty: the engine's tokenizer adds its own to a prompt). `eos_token` is not known here: a
template that uses it sets it itself, `{% set eos_token = "</s>" %}`. There is no clock, so no `strftime_now`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import TemplateError

from .asking import refusal
from .sandbox import OwnRefusal, Sandbox, TooMuchWork
from .values import DialectError

LONGEST_TEMPLATE = 256 * 1024
"""Characters; the longest that are published have about 20,000."""
LONGEST_PROMPT = 32 * 1024 * 1024
"""Characters; a request's body has at most as many by far."""
MOST_PIECES = 1_000_000


class Template:
    """One chat template, compiled. Rendering is pure: the same messages give the same prompt."""

    __slots__ = ("_begin", "_pieces")

    def __init__(self, text: str) -> None:
        """Raises ValueError, with words for the policy's report, for a text that is no template."""
        if len(text) > LONGEST_TEMPLATE:
            message = f"is longer than {LONGEST_TEMPLATE} characters; that is not a chat template"
            raise ValueError(message)
        environment = Sandbox()
        try:
            compiled = environment.from_string(text)
        except TemplateError as error:
            message = f"is not a Jinja template: {error}"
            raise ValueError(message) from error
        self._begin = environment.begin
        self._pieces: Callable[..., Any] = compiled.generate

    def render(self, messages: list[dict[str, Any]], given: Mapping[str, Any]) -> str:
        """The prompt; `given` are the request's own `add_generation_prompt`, `documents` and `chat_template_kwargs`.

        Raises DialectError about the REQUEST when the template refuses the messages.
        """
        extra = given.get("chat_template_kwargs") or {}
        if not isinstance(extra, dict):
            raise refusal("chat_template_kwargs", "is not an object")
        variables = {"bos_token": "", "add_generation_prompt": True, "tools": None, "documents": None, **extra}
        variables |= {name: value for name, value in given.items() if name != "chat_template_kwargs"}
        variables["messages"] = messages
        try:
            return self._joined(variables)
        except OwnRefusal as error:
            raise refusal("messages", f"are refused by the chat template: {str(error)[:200]}") from error
        except TooMuchWork as error:
            raise refusal("messages", "take the chat template too long") from error
        except (
            TemplateError,
            ArithmeticError,
            LookupError,
            NameError,  # a number too large for Python is compiled to `inf`, which is no name there
            TypeError,
            ValueError,
            RecursionError,
            MemoryError,
        ) as error:
            raise refusal("messages", f"do not fit the chat template ({type(error).__name__})") from error

    def _joined(self, variables: Mapping[str, Any]) -> str:
        self._begin()
        pieces: list[str] = []
        size = 0
        for piece in self._pieces(**variables):
            pieces.append(piece)
            size += len(piece)
            if size > LONGEST_PROMPT or len(pieces) > MOST_PIECES:
                raise refusal("messages", "make a prompt that is too long")
        return "".join(pieces)


def template_problem(text: str) -> str | None:
    """What is wrong with a chat template, found by rendering a small chat; None when nothing is."""
    try:
        template = Template(text)
        template.render([{"role": "user", "content": "Hello"}], {})
        template.render([{"role": role, "content": "Hello"} for role in ("user", "assistant", "user")], {})
    except ValueError as error:
        return str(error)
    except DialectError as error:
        cause = error.__cause__
        return f"cannot render a small chat: {cause if cause is not None else error.message}"
    return None
