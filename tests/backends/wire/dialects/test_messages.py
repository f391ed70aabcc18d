"""Messages on their way into a prompt, images on their way into a message."""

from __future__ import annotations

from typing import Any

import pytest

from backends.wire.dialects import DialectError
from backends.wire.dialects.messages import image_parts, plain_messages


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("Hi", "Hi"),
        (None, None),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb"),
        (["a", {"text": "b"}], "a\nb"),
        ([], ""),
    ],
)
def test_content_becomes_one_text(content: Any, expected: str | None) -> None:
    """Parts are joined by a newline, and nothing else of a message changes."""
    assert plain_messages([{"role": "user", "content": content, "name": "n"}]) == [
        {"role": "user", "content": expected, "name": "n"}
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (5, "`messages.content` is neither a text nor a list of parts"),
        ([{"type": "image_url", "image_url": {"url": "x"}}], "holds image_url, which cannot be put into a prompt"),
        ([{"type": "text"}], "holds text"),
        ([{"type": "a b"}], "holds something unknown"),
        ([5], "holds something unknown"),
    ],
)
def test_what_is_no_text_is_refused(content: Any, said: str) -> None:
    """An image does not silently vanish from a prompt."""
    with pytest.raises(DialectError) as caught:
        plain_messages([{"role": "user", "content": content}])
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("start", "kind"), [("iVBORw0KGgo", "png"), ("/9j/", "jpeg"), ("R0lGOD", "gif"), ("UklGR", "webp")]
)
def test_an_images_type_is_read_from_its_beginning(start: str, kind: str) -> None:
    """A data URL needs the type that Bedrock's list does not say."""
    assert image_parts([f"{start}AAAA"])[0]["image_url"]["url"] == f"data:image/{kind};base64,{start}AAAA"


def test_an_image_of_unknown_type_is_refused() -> None:
    """A guess would reach the model as a broken picture."""
    with pytest.raises(DialectError, match="images"):
        image_parts(["AAAA"])
