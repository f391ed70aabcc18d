"""Stands in for `vllm` in a handler's file: `LLM.generate` and `LLM.chat` ask the policy's targets.

What goes over the wire is the dialect that the policy declares for the route's clients, so that a target of another
dialect is translated to as for any client. A parameter that the dialect has no place for is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .generating import asking, no_dialect
from .values import Reply

_TGI_NAMES = {"max_tokens": "max_new_tokens"}
_TGI = frozenset(
    {"max_new_tokens", "temperature", "top_p", "top_k", "stop", "seed", "repetition_penalty", "frequency_penalty"}
)


class SamplingParams:
    """Parameters by name; what is not given is left to the engine."""

    def __init__(self, **given: Any) -> None:
        self.given = given

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["given"][name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True)
class CompletionOutput:
    """One completion."""

    index: int
    text: str
    finish_reason: str | None = None
    token_ids: tuple[int, ...] = ()
    """Always empty: tokens don't cross the wire."""


@dataclass(frozen=True)
class RequestOutput:
    """The completions of one prompt."""

    prompt: str | None
    outputs: list[CompletionOutput] = field(default_factory=list)
    finished: bool = True


class LLM:
    """An engine that is elsewhere: the model's name and every other argument are the policy's business."""

    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        pass

    def generate(
        self, prompts: str | Sequence[str], sampling_params: SamplingParams | None = None, **_options: Any
    ) -> list[RequestOutput]:
        """Completions of each prompt, one request after the other. Raises InvokeError."""
        given = sampling_params.given if sampling_params is not None else {}
        return [_complete(prompt, given) for prompt in ([prompts] if isinstance(prompts, str) else prompts)]

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        sampling_params: SamplingParams | None = None,
        **_options: Any,
    ) -> list[RequestOutput]:
        """The answer to one conversation. Raises InvokeError."""
        request = asking()
        if request.call.speaks != "openai-chat":
            raise no_dialect(request.call.speaks, "LLM.chat")
        given = sampling_params.given if sampling_params is not None else {}
        answer = request.ask({"messages": list(messages), **given}).json()
        return [RequestOutput(None, _choices(answer, lambda choice: choice["message"]["content"] or ""))]


def contents() -> dict[str, Any]:
    """What the module has."""
    return {
        "LLM": LLM,
        "SamplingParams": SamplingParams,
        "RequestOutput": RequestOutput,
        "CompletionOutput": CompletionOutput,
    }


def _complete(prompt: str, given: Mapping[str, Any]) -> RequestOutput:
    request = asking()
    match request.call.speaks:
        case "openai-completions":
            answer = request.ask({"prompt": prompt, **given}).json()
            return RequestOutput(prompt, _choices(answer, lambda choice: choice["text"]))
        case "tgi" | "lmi":
            return RequestOutput(prompt, [_generated(request.ask(_tgi_body(prompt, given)))])
        case other:
            raise no_dialect(other, "LLM.generate")


def _tgi_body(prompt: str, given: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {_TGI_NAMES.get(name, name): value for name, value in given.items()}
    _refuse(parameters.keys() - _TGI)
    if "temperature" in parameters and parameters["temperature"] == 0:
        del parameters["temperature"]  # TGI takes none below 0; greedy is what it does without sampling
    elif parameters.keys() & {"temperature", "top_p", "top_k"}:
        parameters["do_sample"] = True
    return {"inputs": prompt, "parameters": parameters}


def _refuse(names: Iterable[str]) -> None:
    unknown = ", ".join(sorted(names))
    if unknown:
        message = f"SamplingParams has no place in the tgi and lmi dialects for: {unknown}"
        raise ValueError(message)


def _generated(reply: Reply) -> CompletionOutput:
    answer = reply.json()
    first = answer[0] if isinstance(answer, list) else answer
    return CompletionOutput(0, first["generated_text"], (first.get("details") or {}).get("finish_reason"))


def _choices(answer: Mapping[str, Any], text: Any) -> list[CompletionOutput]:
    return [
        CompletionOutput(index, text(choice), choice.get("finish_reason"))
        for index, choice in enumerate(answer["choices"])
    ]
