"""Every key of every dialect's requests, and what becomes of it on the way to each other dialect. Data.

A key belongs to a concept, and is carried when the target's dialect has a key for the same one. A key whose value says
what its absence would say (`neutral`) is simply left out. Any other key refuses the request, unless the policy drops
it by name: a parameter that is silently lost changes answers, and nobody learns why.

Sources: the request models of vLLM 0.32 and OpenAI's API reference for both OpenAI dialects, Text Generation
Inference's API schema (3.0), DJL Serving's "LMI handlers Inference API Schema" (0.31), and the Bedrock user guide
("Advanced API features for imported models") for bedrock-completion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a dialect's requests."""

    name: str
    """`parameters.` is left out: the keys inside are told by their own names."""
    concept: str | None = None
    """None: no other dialect has anything like it."""
    neutral: tuple[object, ...] = ()
    """Values that ask for nothing."""
    reads_only: bool = False
    """A second name of its concept, never written."""


ZERO, ONE, OFF, ON = (0, 0.0), (1, 1.0), (False,), (True,)
EMPTY: tuple[object, ...] = ([], "", {})

_SAMPLING = (
    Key("temperature", "temperature"),
    Key("top_p", "top_p", ONE),
)
_SHARED = (
    # What vLLM's two request models have in common.
    *_SAMPLING,
    Key("model", "model"),
    Key("frequency_penalty", "frequency_penalty", ZERO),
    Key("presence_penalty", "presence_penalty", ZERO),
    Key("repetition_penalty", "repetition_penalty", ONE),
    Key("logit_bias", "logit_bias", EMPTY),
    Key("n", "n", ONE),
    Key("seed", "seed"),
    Key("stop", "stop", EMPTY),
    Key("stream", "stream"),
    Key("stream_options", "usage", EMPTY),
    Key("user", "user"),
    Key("use_beam_search", "use_beam_search", OFF),
    Key("top_k", "top_k", (0, -1)),
    Key("min_p", "min_p", ZERO),
    Key("watermarking", "watermarking", OFF),
    Key("length_penalty", "length_penalty", ONE),
    Key("stop_token_ids", "stop_token_ids", EMPTY),
    Key("include_stop_str_in_output", "include_stop", OFF),
    Key("ignore_eos", "ignore_eos", OFF),
    Key("min_tokens", "min_tokens", ZERO),
    Key("skip_special_tokens", "skip_special_tokens", ON),
    Key("spaces_between_special_tokens", "spaces_between_special_tokens", ON),
    Key("truncate_prompt_tokens", "truncate_prompt_tokens"),
    Key("truncation_side", "truncation_side"),
    Key("allowed_token_ids", "allowed_token_ids"),
    Key("bad_words", "bad_words", EMPTY),
    Key("response_format", "grammar", ({"type": "text"},)),
    Key("structured_outputs", "grammar", EMPTY),
    Key("priority", "priority", ZERO),
    Key("request_id", "request_id"),
    Key("session_id", "session_id"),
    Key("cache_salt", "cache_salt"),
    Key("vllm_xargs", "vllm_xargs", EMPTY),
    Key("repetition_detection", "repetition_detection"),
    Key("thinking_token_budget", "thinking_token_budget"),
    Key("stream_interval", "stream_interval"),
    # These change the answer in ways that only the same dialect has a place for.
    Key("prompt_logprobs"),
    Key("logprob_token_ids", None, EMPTY),
    Key("return_tokens_as_token_ids", None, OFF),
    Key("return_token_ids", None, OFF),
    Key("return_token_offsets", None, OFF),
    Key("routed_experts_prompt_start", None, ZERO),
    Key("mm_payload"),
    Key("return_mm_kwargs", None, OFF),
    Key("kv_transfer_params"),
    Key("ec_transfer_params"),
)

TABLES: Mapping[str, tuple[Key, ...]] = MappingProxyType(
    {
        "openai-chat": (
            Key("messages", "text"),
            Key("max_tokens", "limit"),
            Key("max_completion_tokens", "limit", reads_only=True),
            Key("logprobs", "logprobs", OFF),
            Key("top_logprobs", "logprobs", ZERO, reads_only=True),
            *_SHARED,
            Key("add_generation_prompt", "template"),
            Key("chat_template_kwargs", "template"),
            Key("documents", "template"),
            Key("add_special_tokens", None, OFF),
            Key("chat_template"),
            Key("continue_final_message", None, OFF),
            Key("echo", None, OFF),
            Key("tools", None, EMPTY),
            Key("tool_choice", None, ("none",)),
            Key("parallel_tool_calls", None, ON),
            Key("reasoning_effort"),
            Key("include_reasoning", None, ON),
            Key("media_io_kwargs", None, EMPTY),
            Key("mm_processor_kwargs", None, EMPTY),
            Key("return_prompt_text", None, OFF),
            # Keys of OpenAI's that vLLM does not read.
            Key("audio"),
            Key("function_call", None, ("none",)),
            Key("functions", None, EMPTY),
            Key("metadata", None, EMPTY),
            Key("modalities", None, (["text"],)),
            Key("prediction"),
            Key("service_tier", None, ("auto", "default")),
            Key("store", None, OFF),
            Key("verbosity"),
            Key("web_search_options"),
        ),
        "openai-completions": (
            Key("prompt", "text"),
            Key("max_tokens", "limit"),
            Key("logprobs", "logprobs"),
            Key("echo", "full_text", OFF),
            *_SHARED,
            Key("add_special_tokens", None, ON),
            Key("best_of", None, ONE),
            Key("prompt_embeds"),
            Key("suffix", None, EMPTY),
        ),
        "bedrock-completion": (
            Key("prompt", "text"),
            Key("max_gen_len", "limit"),
            *_SAMPLING,
            Key("images", "images", EMPTY),
            Key("response_format", "grammar", ({"type": "text"},)),
            Key("return_logprobs", None, OFF),
            Key("stream", "stream"),
        ),
        "tgi": (
            Key("inputs", "text"),
            Key("stream", "stream"),
            Key("max_new_tokens", "limit"),
            *_SAMPLING,
            Key("do_sample", "sample"),
            Key("top_k", "top_k"),
            Key("typical_p", None, ONE),
            Key("repetition_penalty", "repetition_penalty", ONE),
            Key("frequency_penalty", "frequency_penalty", ZERO),
            Key("seed", "seed"),
            Key("stop", "stop", EMPTY),
            Key("details", "details", OFF),
            Key("top_n_tokens", "logprobs", ZERO),
            Key("return_full_text", "full_text", OFF),
            Key("grammar", "grammar"),
            Key("adapter_id"),
            Key("best_of", None, ONE),
            Key("decoder_input_details", "prefill", OFF),
            Key("truncate"),
            Key("watermark", None, OFF),
        ),
        "lmi": (
            Key("inputs", "text"),
            Key("stream", "stream"),
            Key("max_new_tokens", "limit"),
            *_SAMPLING,
            Key("do_sample", "sample"),
            Key("top_k", "top_k", (0, -1)),
            Key("min_p", "min_p", ZERO),
            Key("repetition_penalty", "repetition_penalty", ONE),
            Key("frequency_penalty", "frequency_penalty", ZERO),
            Key("presence_penalty", "presence_penalty", ZERO),
            Key("length_penalty", "length_penalty", ONE),
            Key("seed", "seed"),
            Key("stop_sequences", "stop", EMPTY),
            Key("stop", "stop", EMPTY, reads_only=True),
            Key("stop_token_ids", "stop_token_ids", EMPTY),
            Key("include_stop_str_in_output", "include_stop", OFF),
            Key("ignore_eos_token", "ignore_eos", OFF),
            Key("skip_special_tokens", "skip_special_tokens", ON),
            Key("spaces_between_special_tokens", "spaces_between_special_tokens", ON),
            Key("details", "details", OFF),
            Key("return_full_text", "full_text", OFF),
            Key("decoder_input_details", "prefill", OFF),
            Key("adapters", None, EMPTY),
            Key("bad_sequences", None, EMPTY),
            Key("best_of", None, ONE),
            Key("early_stopping", None, OFF),
            Key("logprobs"),
            Key("min_length", None, (*ZERO, *ONE)),
            Key("n", None, ONE),
            Key("num_beams", None, ONE),
            Key("prompt_logprobs"),
        ),
    }
)

BY_NAME: Mapping[str, Mapping[str, Key]] = MappingProxyType(
    {dialect: MappingProxyType({key.name: key for key in keys}) for dialect, keys in TABLES.items()}
)

UNTOLD_LIMIT: Mapping[str, int | None] = MappingProxyType(
    {"openai-chat": None, "openai-completions": 16, "bedrock-completion": 512, "tgi": 100, "lmi": 30}
)
"""Tokens that a dialect generates at most when a request does not say; None: as many as the context has room for.

It is said to the target, whose own default is another. OpenAI's API reference, the Bedrock user guide (Meta Llama),
TGI's API schema, LMI's.
"""

OPENAI = frozenset({"openai-chat", "openai-completions"})
GENERATE = frozenset({"tgi", "lmi"})
"""The dialects whose requests are `inputs` with `parameters`."""


def fate(client: str, target: str, key: Key) -> str | None:
    """What becomes of a key of `client`'s on the way to `target`, in words; None: it refuses the request."""
    concept = key.concept
    words = {
        "model": "the policy names the model; the answer repeats the client's word for it",
        "full_text": "done by the proxy",
        "usage": "`include_usage` is done by the proxy",
    }
    if concept in words:
        return words[concept]
    own = next((one.name for one in TABLES[target] if one.concept == concept and not one.reads_only), None)
    found = None if concept is None or own is None else f"`{own}`"
    match concept:
        case "grammar" if own is not None:
            found = " or ".join(f"`{one.name}`" for one in TABLES[target] if one.concept == concept)
        case "details" if target in OPENAI:
            found = "`logprobs` and `return_token_ids`"
        case "logprobs" if target in GENERATE:
            found = "`details` and `top_n_tokens`" if target == "tgi" else None if client == "tgi" else "`details`"
        case "sample" if target not in GENERATE:
            found = "decides on `temperature`"
        case "template" if target != "openai-chat":
            found = "given to the chat template"
        case "images" if target == "openai-chat":
            found = "parts of the user message"
        case "include_stop" if target == "tgi":
            found = "done by the proxy"
    return found
