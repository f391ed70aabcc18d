"""A chat's messages on their way to or from a prompt: texts joined, images put in or refused."""

from __future__ import annotations

from typing import Any

from .asking import refusal

_TYPES = (("iVBORw0KGgo", "png"), ("/9j/", "jpeg"), ("R0lGOD", "gif"), ("UklGR", "webp"))
"""How base64-coded images begin."""


def plain_messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with each content as one text, which is what chat templates read; parts are joined by a newline.

    vLLM joins them so for a template that reads texts. Raises DialectError for parts that are no text.
    """
    return [{**message, "content": _content(message.get("content"))} for message in messages]


def _content(content: Any) -> str | None:
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise refusal("messages.content", "is neither a text nor a list of parts")
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get("text") if isinstance(part, dict) else part
        if kind not in (None, "text") or not isinstance(text, str):
            shown = kind if isinstance(kind, str) and kind.isidentifier() and len(kind) <= 64 else "something unknown"
            raise refusal("messages.content", f"holds {shown}, which cannot be put into a prompt; send texts only")
        texts.append(text)
    return "\n".join(texts)


def image_parts(images: list[str]) -> list[dict[str, Any]]:
    """Base64-coded images as parts of a chat message."""
    parts = []
    for image in images:
        kind = next((kind for start, kind in _TYPES if image.startswith(start)), None)
        if kind is None:
            raise refusal("images", "holds something that is not a base64-coded PNG, JPEG, GIF or WebP")
        parts.append({"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{image}"}})
    return parts
