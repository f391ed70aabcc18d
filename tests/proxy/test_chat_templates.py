"""Chat templates beside a policy: read, tried out, and reported at their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.errors import PolicyError
from policies.load import load_policy
from proxy.chat_templates import LARGEST, template_reader, template_stamp

GOOD = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
POLICY = """
apiVersion: pointsman/v1
account: "123456789012"
targets:
  text: {kind: vllm, url: "http://127.0.0.1:1", model: m, speaks: openai-completions}
endpoints:
  x: {serve_from: text, clients_speak: openai-chat, translate: {chat_template: t.jinja}}
"""


def test_template_is_read_beside_the_policy(tmp_path: Path) -> None:
    """A relative path starts at the policy's folder, an absolute one stands for itself."""
    (tmp_path / "t.jinja").write_text(GOOD)
    read = template_reader(tmp_path)
    assert read("t.jinja") == read(str(tmp_path / "t.jinja")) == GOOD
    assert load_policy(POLICY, {}, read_file=read).routes["x", None].translate.chat_template == GOOD


def test_the_mark_that_some_editors_put_first_is_no_part_of_a_prompt(tmp_path: Path) -> None:
    """A file in UTF-8 with a byte order mark is the same template."""
    (tmp_path / "t.jinja").write_text(GOOD, encoding="utf-8-sig")
    assert template_reader(tmp_path)("t.jinja") == GOOD


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "t.jinja cannot be read: No such file or directory"),
        (b"{% for %}", "t.jinja is not a Jinja template"),
        (b"{{ messages[0].content }}{{ eos_token }}", "'eos_token' is undefined"),
        (b"\xff", "t.jinja is not UTF-8 at byte 0"),
        (b" " * (LARGEST + 1), "t.jinja is larger than 1024 KiB"),
    ],
)
def test_template_that_cannot_be_used_refuses_the_policy(tmp_path: Path, content: bytes | None, said: str) -> None:
    """The report names the key, its line, the file and what is wrong with it."""
    if content is not None:
        (tmp_path / "t.jinja").write_bytes(content)
    with pytest.raises(PolicyError) as caught:
        load_policy(POLICY, {}, read_file=template_reader(tmp_path))
    (problem,) = caught.value.problems
    assert (problem.path, problem.line) == ("endpoints.x.translate.chat_template", 7)
    assert said in problem.message


def test_stamp_differs_when_a_template_has_changed(tmp_path: Path) -> None:
    """Also when it has come, gone, or been put in place by a rename; a path that none can have has one as well."""
    stamp = template_stamp(tmp_path)
    seen = [stamp("t.jinja")]
    for text in (GOOD, GOOD + " "):
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").rename(tmp_path / "t.jinja")
        seen.append(stamp("t.jinja"))
        assert stamp("t.jinja") == seen[-1]
    assert len(set(seen)) == 3
    (tmp_path / "t.jinja").unlink()
    assert stamp("t.jinja") == stamp("\0") == seen[0]
