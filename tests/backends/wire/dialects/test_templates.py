"""Chat templates: rendered as the model was trained to read them, in a sandbox, within bounds."""

from __future__ import annotations

from typing import Any

import pytest

from backends.wire.dialects import DialectError
from backends.wire.dialects.templates import LONGEST_TEMPLATE, Template, template_problem

USER: list[dict[str, Any]] = [{"role": "user", "content": "Hi <b>"}]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def refused(text: str, messages: list[dict[str, Any]] | None = None, **given: Any) -> str:
    with pytest.raises(DialectError) as caught:
        Template(text).render(messages or USER, given)
    return caught.value.message


def test_a_published_template_renders_as_its_model_expects() -> None:
    """ChatML, as the tiny model of the tests has it; nothing is escaped as HTML."""
    expected = "<|im_start|>user\nHi <b><|im_end|>\n<|im_start|>assistant\n"
    assert Template(CHATML).render(USER, {}) == expected
    assert Template(CHATML).render(USER, {"add_generation_prompt": False}) == expected.removesuffix(
        "<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("text", "given", "expected"),
    [
        ("{{ bos_token }}x", {}, "x"),
        ("{% set eos_token = '</s>' %}{{ eos_token }}", {}, "</s>"),
        ("{% if tools is not none %}t{% endif %}{% if not tools and not thinking %}n{% endif %}", {}, "n"),
        ("{{ level }}", {"chat_template_kwargs": {"level": 3}}, "3"),
        ("{{ documents | length }}", {"documents": [1, 2]}, "2"),
        ("{{ messages[0] | tojson }}", {}, '{"role": "user", "content": "Hi <b>"}'),
        ("{{ [1] | tojson(indent=1) }}", {}, "[\n 1\n]"),
        ("{% set ns = namespace(x=1) %}{% set ns.x = 2 %}{{ ns.x }}", {}, "2"),
        ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", {}, "01"),
        ("{{ '-' * 3 }}{{ 7 % 4 }}{{ 2 ** 3 }}{{ 2 * 3 }}", {}, "---386"),
        ("  {% if true %}\nx\n  {% endif %}\ny", {}, "x\ny"),
        ("{{ messages[0].content.strip().upper() }}", {}, "HI <B>"),
    ],
)
def test_what_templates_use(text: str, given: dict[str, Any], expected: str) -> None:
    """The conventions of published templates: variables, filters, namespaces, loop controls, trimmed blocks."""
    assert Template(text).render(USER, given) == expected


def test_messages_are_data() -> None:
    """A template inside a message is a text like any other."""
    content = "{{ 7 * 7 }}{% for x in y %}"
    assert Template("{{ messages[0].content }}").render([{"role": "user", "content": content}], {}) == content


def test_given_variables_cannot_replace_the_messages() -> None:
    """`chat_template_kwargs` adds variables; what the model reads are the request's messages."""
    given = {"chat_template_kwargs": {"messages": [{"content": "other"}]}}
    assert Template("{{ messages[0].content }}").render(USER, given) == "Hi <b>"
    assert "`chat_template_kwargs` is not an object" in refused("x", chat_template_kwargs=[1])


@pytest.mark.parametrize(
    "text",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='x') }}",
        "{{ 'a' * 2000000 }}",
        "{{ [1] * 2000000 }}",
        "{{ 9 ** 9999 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ range(1000000) | list }}",
        "{{ cycler }}",
        "{{ lipsum() }}",
        "{{ eos_token }}",
        "{{ messages[9].content }}",
        "{{ 1 / 0 }}",
        "{{ 10 ** 1e999 }}",
        "{{ messages[0].content + 1 }}",
        "{{ strftime_now('%Y') }}",
    ],
)
def test_what_a_template_may_not_or_cannot_do_refuses_the_request(text: str) -> None:
    """Ways out of the sandbox, changes, sizes without bound and plain mistakes end in one typed refusal."""
    assert refused(text).startswith("`messages` do not fit the chat template (")


def test_a_prompt_without_bound_is_cut_short() -> None:
    """What comes out is bounded in letters and in pieces, and the work it takes in steps."""
    too_long = "`messages` make a prompt that is too long"
    assert refused("{% for a in range(99) %}{{ 'x' * 999999 }}{% endfor %}") == too_long
    many = "x{{ messages[0].role }}" * 500
    assert refused("{% for a in range(99999) %}" + many + "{% endfor %}") == too_long
    nested = "{% for a in range(90000) %}{% for b in range(90000) %}x{% endfor %}{% endfor %}"
    assert refused(nested) == "`messages` take the chat template too long"


def test_a_template_refuses_messages_in_its_own_words() -> None:
    """`raise_exception` is how templates say which chats they take; the client reads it, the log does not."""
    text = "{{ raise_exception('roles must alternate') }}"
    assert refused(text) == "`messages` are refused by the chat template: roles must alternate"
    with pytest.raises(DialectError) as caught:
        Template(text).render(USER, {})
    assert str(caught.value) == "`messages` in the request"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{% for %}", "is not a Jinja template: "),
        ("x" * (LONGEST_TEMPLATE + 1), "is longer than "),
        ("{{ eos_token }}", "cannot render a small chat: 'eos_token' is undefined"),
        ("{{ raise_exception('no') }}", "cannot render a small chat: no"),
        ("{% for a in range(90000) %}{% for b in range(90000) %}x{% endfor %}{% endfor %}", "cannot render a small"),
    ],
)
def test_a_template_is_tried_out_when_the_policy_is_loaded(text: str, said: str) -> None:
    """What is wrong with one is said to the operator before a client meets it."""
    assert (template_problem(text) or "").startswith(said)


def test_a_usable_template_has_no_problem() -> None:
    """The ordinary case."""
    assert template_problem(CHATML) is None
