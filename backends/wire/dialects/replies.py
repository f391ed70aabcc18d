"""Whole answers written, each as its dialect's own engine would have."""

from __future__ import annotations

from typing import Any

import orjson

from .tokens import write_generate, write_openai, write_top
from .values import Answer, Counts, DialectError, Finish, Piece, Stamp, Wish, Wrong


def write_reply(client: str, answer: Answer, wish: Wish, stamp: Stamp) -> bytes:
    """The body of an answer in the dialect of the client. Raises DialectError about what would be LOST."""
    match client:
        case "openai-chat" | "openai-completions":
            return orjson.dumps(_openai(answer, wish, stamp, chat=client == "openai-chat"))
        case "bedrock-completion":
            return orjson.dumps(_bedrock(one_piece(answer), answer.counts, wish))
        case "lmi":
            return orjson.dumps(_generate(answer, wish, lmi=True))
        case _:
            return orjson.dumps([_generate(answer, wish, lmi=False)])


def one_piece(answer: Answer) -> Piece:
    """The only choice of an answer; these dialects have no place for more."""
    if len(answer.pieces) != 1:
        raise DialectError(
            Wrong.LOST, "The model gave several answers, and the client's dialect has room for one.", "n"
        )
    return answer.pieces[0]


def full_text(text: str, wish: Wish) -> str:
    """The text as the client asked for it: with the prompt before it, or without."""
    return wish.prompt + text if wish.full_text else text


def openai_finish(finish: Finish | None) -> str | None:
    """A finish reason of OpenAI's."""
    if finish is None:
        return None
    return "stop" if finish in (Finish.END, Finish.STOP) else finish.value


def bedrock_finish(finish: Finish | None) -> str | None:
    """A stop reason of Bedrock's own format."""
    if finish is None:
        return None
    return "length" if _generated(finish) is Finish.LENGTH else "stop"


def generate_finish(finish: Finish | None) -> str | None:
    """A finish reason of TGI's and LMI's."""
    names = {Finish.LENGTH: "length", Finish.END: "eos_token", Finish.STOP: "stop_sequence"}
    return None if finish is None else names[_generated(finish)]


def _generated(finish: Finish) -> Finish:
    if finish in (Finish.LENGTH, Finish.END, Finish.STOP):
        return finish
    said = f"The answer's finish reason is `{finish.value}`, which the client's dialect has no word for."
    raise DialectError(Wrong.LOST, said, "finish_reason")


def write_usage(counts: Counts) -> dict[str, int] | None:
    """OpenAI's `usage`; None unless both counts are known."""
    usage = counts.usage
    if usage is None:
        return None
    both = {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
    return {**both, "total_tokens": sum(both.values())}


def _openai(answer: Answer, wish: Wish, stamp: Stamp, *, chat: bool) -> dict[str, Any]:
    return {
        "id": stamp.id,
        "object": "chat.completion" if chat else "text_completion",
        "created": stamp.created,
        "model": stamp.model,
        "choices": [_choice(piece, wish, chat=chat) for piece in answer.pieces],
        "usage": write_usage(answer.counts),
    }


def _choice(piece: Piece, wish: Wish, *, chat: bool) -> dict[str, Any]:
    text: dict[str, Any] = {"text": full_text(piece.text, wish)}
    if chat:
        text = {"message": {"role": "assistant", "content": piece.text, "refusal": None}}
    return {
        "index": piece.index,
        **text,
        "logprobs": None if wish.logprobs is None else write_openai(chat, piece.tokens, wish.logprobs, 0),
        "finish_reason": openai_finish(piece.finish),
        "stop_reason": piece.stop,
    }


def _bedrock(piece: Piece, counts: Counts, wish: Wish) -> dict[str, Any]:
    return {
        "generation": full_text(piece.text, wish),
        "prompt_token_count": counts.prompt,
        "generation_token_count": counts.completion,
        "stop_reason": bedrock_finish(piece.finish),
        "logprobs": None,
    }


def _generate(answer: Answer, wish: Wish, *, lmi: bool) -> dict[str, Any]:
    piece = one_piece(answer)
    document: dict[str, Any] = {"generated_text": full_text(piece.text, wish)}
    if not wish.details:
        return document
    told = answer.counts.completion
    details = generate_details(piece, len(piece.tokens) or None if told is None else told, wish, lmi=lmi)
    details["tokens"] = [write_generate(lmi, token) for token in piece.tokens]
    details["prefill"] = [write_generate(lmi, token) for token in answer.prefill]
    if not lmi:
        for token in details["prefill"]:
            del token["special"]
        if wish.logprobs:
            details["top_tokens"] = [write_top(token, wish.logprobs) for token in piece.tokens]
    return {**document, "details": details}


def generate_details(piece: Piece, generated: int | None, wish: Wish, *, lmi: bool) -> dict[str, Any]:
    """The part of TGI's and LMI's `details` that streams have as well; `generated` is the number of tokens."""
    details: dict[str, Any] = {"finish_reason": generate_finish(piece.finish), "generated_tokens": generated}
    return {**details, "inputs": wish.prompt} if lmi else {**details, "seed": wish.seed}
