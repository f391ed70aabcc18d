"""Chat templates: a chat rendered as the prompt that the model was trained to read. Jinja2 in its immutable sandbox.

The template is the policy's, the messages are a caller's: messages are data to it, never code. The sandbox refuses
attributes that lead out of it and changes of what it is given. Size is bounded: of the template, of a range, of what an
operator makes, of what comes out, and the number of pieces it comes in, which bounds loops that write. A loop that
writes nothing is bounded only by what a template can loop over (100,000 steps a range): templates are the operator's
own files, and are rendered once when the policy is loaded.

Variables are those of Hugging Face's convention: `messages`, `add_generation_prompt`, `tools` and `documents` (none
unless given), `bos_token` (empty: the engine's tokenizer adds its own to a prompt). `eos_token` is not known here: a
template that uses it sets it itself, `{% set eos_token = "</s>" %}`. There is no clock, so no `strftime_now`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from jinja2 import TemplateError, Undefined
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from .asking import refusal
from .values import DialectError

LONGEST_TEMPLATE = 256 * 1024
"""Characters; the longest that are published have about 20,000."""
LONGEST_PROMPT = 32 * 1024 * 1024
"""Characters; a request's body has at most as many by far."""
MOST_PIECES = 1_000_000
_LARGEST_PRODUCT = 1_000_000
"""Longest text or list that `*` makes, and largest operand of `**`."""


class _Refused(Exception):
    """The template's own `raise_exception`."""


class _Untold(Undefined):
    """An unknown variable may be asked for and is false, as templates expect; it is never printed as nothing."""

    __slots__ = ()

    def __str__(self) -> str:
        return str(self._fail_with_undefined_error())


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        sizes = [
            len(one) if isinstance(one, str | list | tuple) else abs(one)
            for one in (left, right)
            if isinstance(one, str | list | tuple | int | float)
        ]
        if operator == "%" and isinstance(left, str):
            message = "texts are not formatted with % in a chat template"
            raise SecurityError(message)
        if operator == "**" and max(sizes, default=0) > 1000:
            message = "a power that large has no place in a chat template"
            raise SecurityError(message)
        numbers = all(isinstance(one, int | float) for one in (left, right))
        if operator == "*" and not numbers and len(sizes) == 2 and sizes[0] * sizes[1] > _LARGEST_PRODUCT:
            message = "a text that long has no place in a chat template"
            raise SecurityError(message)
        return super().call_binop(context, operator, left, right)


class Template:
    """One chat template, compiled. Rendering is pure: the same messages give the same prompt."""

    __slots__ = ("_pieces",)

    def __init__(self, text: str) -> None:
        """Raises ValueError, with words for the policy's report, for a text that is no template."""
        if len(text) > LONGEST_TEMPLATE:
            message = f"is longer than {LONGEST_TEMPLATE} characters; that is not a chat template"
            raise ValueError(message)
        environment = _Sandbox(
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=_Untold,
            autoescape=False,  # a prompt is no HTML; escaping would change what the model reads
            extensions=["jinja2.ext.loopcontrols"],
        )
        environment.filters["tojson"] = _tojson
        environment.globals = {
            "range": environment.globals["range"],
            "namespace": environment.globals["namespace"],
            "dict": dict,
            "raise_exception": _raise,
        }
        try:
            compiled = environment.from_string(text)
        except TemplateError as error:
            message = f"is not a Jinja template: {error}"
            raise ValueError(message) from error
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
        except _Refused as error:
            raise refusal("messages", f"are refused by the chat template: {str(error)[:200]}") from error
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
            raise refusal("messages", f"do not fit the chat template ({type(error).__name__})") from error

    def _joined(self, variables: Mapping[str, Any]) -> str:
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


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **_: Any) -> str:
    """JSON as templates expect it: without the escapes for HTML that Jinja's own filter makes."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def _raise(message: str) -> NoReturn:
    raise _Refused(message)
