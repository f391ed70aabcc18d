"""The sandbox's allowance: whatever a template does with whatever it is given, it ends soon."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.dialects.sandbox import MOST_STEPS, Sandbox, TooMuchWork

MANY: list[dict[str, Any]] = [{"role": "user", "content": "x"}] * 20_000
LONG: list[dict[str, Any]] = [{"role": "user", "content": "x" * 1_000_000}] * 20


def rendered(text: str, **variables: Any) -> str:
    return Sandbox().from_string(text).render(**variables)


ENDLESS = {
    "loops in loops": "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}",
    "a macro that calls itself": (
        "{% macro f(n) %}{% if n %}{% set _ = f(n - 1) %}{% set _ = f(n - 1) %}{% endif %}{% endmacro %}{{ f(40) }}"
    ),
    "a loop that calls itself": (
        "{% for a in [0, 0] recursive %}{% if loop.depth < 60 %}{% set _ = loop([0, 0]) %}{% endif %}{% endfor %}"
    ),
    "a filter that calls for ever more": "{% for a in range(90000) %}{% set _ = range(90000) | list %}{% endfor %}",
    "a filter over what another makes": (
        "{% for a in range(90000) %}{% set _ = range(90000) | map('string') | select | list %}{% endfor %}"
    ),
    "what is left of many messages": (
        "{% for a in messages %}{% for b in range(9) %}{% set _ = messages[b:] %}{% endfor %}{% endfor %}"
    ),
    "a search in many messages": (
        "{% for a in messages %}{% for b in range(9) %}{% if 7 in messages %}{% endif %}{% endfor %}{% endfor %}"
    ),
    "a search for what is not there": (
        "{% for a in messages %}{% for b in range(9) %}{% if 7 not in messages %}{% endif %}{% endfor %}{% endfor %}"
    ),
    "texts joined one by one": (
        "{% set ns = namespace(t='') %}{% for a in range(90000) %}{% set ns.t = ns.t ~ long[0].content %}{% endfor %}"
    ),
    "texts added one by one": (
        "{% set ns = namespace(t='') %}{% for a in range(90000) %}{% set ns.t = ns.t + long[0].content %}{% endfor %}"
    ),
    "a method of a long text": "{% for a in range(90000) %}{% set _ = long[0].content.upper() %}{% endfor %}",
    "a filter of a long text": "{% for a in range(90000) %}{% set _ = long[0].content | upper %}{% endfor %}",
    "a method that makes a long text": (
        "{% for a in range(90000) %}{% set _ = 'aaaa'.replace('a', long[0].content) %}{% endfor %}"
    ),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", ENDLESS.values(), ids=list(ENDLESS))
def test_what_would_not_end_is_ended(text: str) -> None:
    """Each would take minutes to years: loops, calls and filters are counted, and long operands by their length."""
    with pytest.raises(TooMuchWork):
        rendered(text, messages=MANY, long=LONG)


PUBLISHED = (
    "{% set ns = namespace(system='', last=-1) %}{% for m in messages %}{% if m['role'] == 'system' %}"
    "{% set ns.system = m.content %}{% endif %}{% if m.role in ['user', 'tool'] %}{% set ns.last = loop.index0 %}"
    "{% endif %}{% endfor %}{% for m in messages[1:] %}{{ '<|' + m.role + '|>' ~ m.content | trim }}"
    "{% if loop.last and m.content.strip().endswith('?') %}!{% endif %}{% endfor %}"
)


def test_a_long_chat_is_within_the_allowance() -> None:
    """Five thousand messages go through a template like the published ones."""
    said = rendered(PUBLISHED, messages=MANY[:5_000])
    assert said.count("<|user|>x") == 4_999
    assert MOST_STEPS >= 40 * 5_000


def test_each_rendering_has_its_own_allowance() -> None:
    """What one has used up is not missing in the next, once it has begun."""
    sandbox = Sandbox()
    template = sandbox.from_string("{% for a in range(n) %}{% for b in range(n) %}{% endfor %}{% endfor %}x")
    with pytest.raises(TooMuchWork):
        template.render(n=90_000)
    sandbox.begin()
    assert template.render(n=9) == "x"


@given(st.lists(st.integers() | st.text(), max_size=12), st.integers(-3, 3))
def test_counting_changes_nothing(items: list[int | str], at: int) -> None:
    """Loops, their variables, slices, searches, filters and joined texts are what they are in Python."""
    text = (
        "{% for one in items %}{{ loop.index }}/{{ loop.length }}{% if loop.last %}.{% endif %}{% endfor %}"
        "|{{ items[at:] | length }}|{{ 3 in items }}|{{ 3 not in items }}|{{ items | map('string') | join }}"
        "|{{ at ~ '' }}"
    )
    count = len(items)
    loop = "".join(f"{number}/{count}{'.' if number == count else ''}" for number in range(1, count + 1))
    expected = [loop, str(len(items[at:])), str(3 in items), str(3 not in items), "".join(map(str, items)), str(at)]
    assert rendered(text, items=items, at=at) == "|".join(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{% for key, value in pairs.items() %}{{ key }}{{ value }}{% endfor %}", "a1b2"),
        ("{% for key in pairs %}{{ key }}{% else %}none{% endfor %}", "ab"),
        ("{% for key in missing %}{{ key }}{% else %}none{% endfor %}", "none"),
        ("{% for one in tree recursive %}{{ one.n }}{{ loop(one.of) if one.of else '' }}{% endfor %}", "123"),
        ("{% for letter in 'abc' if letter != 'b' %}{{ loop.nextitem or '' }}{{ letter }}{% endfor %}", "cac"),
        ("{{ missing is defined }}{{ missing | default('x') }}{{ range(3) | sum }}", "Falsex3"),
        ("{% filter upper %}x{% endfilter %}", "X"),
    ],
)
def test_all_kinds_of_sources_can_be_looped_over(text: str, expected: str) -> None:
    """Dicts, texts, what is not there, recursion, conditions, and filters of nothing or of a block."""
    tree = [{"n": 1, "of": [{"n": 2}]}, {"n": 3}]
    assert rendered(text, pairs={"a": 1, "b": 2}, tree=tree) == expected
