"""Issued keys: what a file may say, what a principal may call, and what a hash keeps."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.keys import (
    Key,
    KeyFileError,
    Principal,
    cut_line,
    derived,
    digest,
    encoded,
    fresh_id,
    line,
    read_keys,
    read_token,
    token,
)

ID = fresh_id(bytes(range(11)))
SECRET = encoded(bytes(range(32)))
HASH = f"sha256:{digest(SECRET).hex()}"


@pytest.mark.parametrize(
    ("allow", "endpoint", "component", "may"),
    [
        (("*",), "chat", None, True),
        (("chat",), "chat", None, True),
        (("chat",), "chat", "one", True),
        (("chat",), "chats", None, False),
        (("team-*",), "team-a", "x", True),
        (("team-*",), "xteam-a", None, False),
        (("packed/one",), "packed", "one", True),
        (("packed/one",), "packed", "two", False),
        (("packed/one",), "packed", None, False),
        (("*/one",), "any", "one", True),
        (("a", "b"), "b", None, True),
        (("CHAT",), "chat", None, False),
    ],
)
def test_an_allow_list_says_what_may_be_called(
    allow: tuple[str, ...], endpoint: str, component: str | None, may: bool
) -> None:
    """A glob names endpoints with all their components, or with a slash single components; case counts."""
    assert Principal("p", allow).may(endpoint, component) is may


def test_a_file_in_full() -> None:
    """Keys and certificates, comments and blank lines."""
    text = f"""# who may call
  # for now
key {ID} {HASH} principal=team-a allow=chat,packed/* expires=2027-01-31T00:00:00Z   # until the move

cert build.example.com principal=build
"""
    found = read_keys(text)
    until = datetime(2027, 1, 31, tzinfo=UTC).timestamp()
    assert found.keys == {ID: Key(ID, digest(SECRET), Principal("team-a", ("chat", "packed/*"), until))}
    assert found.certificates == {"build.example.com": Principal("build", ("*",), None)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello", "begin with"),
        (f"key {ID}", "begin with"),
        (f"key {ID} {SECRET} principal=a", "a secret itself does not belong here"),
        (f"key short {HASH} principal=a", "that id has another form: PMK and 17"),
        (f"key {ID} {HASH}", "principal is needed"),
        (f"key {ID} {HASH} principal=a role=b", "each once"),
        (f"key {ID} {HASH} principal=a principal=b", "each once"),
        (f"key {ID} {HASH} principal=a allow=a,,b", "glob in allow has another form: names of endpoints"),
        (f"key {ID} {HASH} principal=a# allow=chat", "that principal has another form: 1 to 64 letters"),
        (f"key {ID} {HASH} principal=a allow=chat#b expires=2027-01-31T00:00:00Z", "glob in allow"),
        (f"key {ID} {HASH} principal=a expires=tomorrow", "a time with its zone"),
        (f"key {ID} {HASH} principal=a expires=2027-01-31T00:00:00", "a time with its zone"),
        ("cert ä$ principal=a", "that common name has another form: 1 to 64 letters"),
        ("cert a principal=a\ncert a principal=b", "line 2: the same name stands above"),
        (f"key {ID} {HASH} principal=a\nkey {ID} {HASH} principal=b", "line 2: the same name stands above"),
    ],
)
def test_a_wrong_line_is_named(text: str, said: str) -> None:
    """With its number and what to do, and never with a secret."""
    with pytest.raises(KeyFileError, match="keys, line") as found:
        read_keys(text, "keys")
    assert said in str(found.value)
    assert SECRET not in str(found.value)


def test_all_wrong_lines_come_in_one_report() -> None:
    """So that a file is mended once."""
    with pytest.raises(KeyFileError) as found:
        read_keys("a\n\nb\n", "keys")
    assert [each.partition(":")[0] for each in str(found.value).splitlines()] == ["keys, line 1", "keys, line 3"]


@given(
    st.binary(min_size=11, max_size=11),
    st.from_regex(r"[A-Za-z0-9_.@:/-]{1,20}", fullmatch=True),
    st.lists(st.sampled_from(["*", "chat", "team-*", "a/b", "[ab]?"]), min_size=1, max_size=3),
    st.none() | st.integers(1_700_000_000, 4_000_000_000),
)
@settings(max_examples=100)
def test_a_line_that_is_written_is_read_back(entropy: bytes, name: str, allow: list[str], expires: int | None) -> None:
    """`pointsman key new` and `--keys` agree about every key."""
    key = Key(fresh_id(entropy), digest(SECRET), Principal(name, tuple(allow), expires))
    assert read_keys(line(key)).keys == {key.id: key}


@given(st.binary(min_size=11, max_size=11), st.binary(min_size=32, max_size=32))
@settings(max_examples=50)
def test_a_token_is_read_back(entropy: bytes, secret: bytes) -> None:
    """Id and secret, whatever their characters."""
    assert read_token(token(fresh_id(entropy), encoded(secret))) == (fresh_id(entropy), encoded(secret))


@pytest.mark.parametrize(
    "text", ["", "pm-", "pm-x-y", f"pm-{ID}-{SECRET}x", f"xx-{ID}-{SECRET}", f"pm-{ID}-{SECRET[:-1]}"]
)
def test_what_is_no_token_is_none(text: str) -> None:
    """Neither shorter nor longer."""
    assert read_token(text) is None


def test_derived_secrets_belong_to_one_id_and_one_master() -> None:
    """Another id or another master secret gives another one; the same gives the same."""
    one = derived(b"m" * 32, ID)
    assert one == derived(b"m" * 32, ID)
    assert len({one, derived(b"n" * 32, ID), derived(b"m" * 32, fresh_id(b"x" * 11))}) == 3
    assert read_token(token(ID, one)) == (ID, one)


def test_a_key_does_not_show_its_hash() -> None:
    """Not in a log line or a traceback."""
    assert digest(SECRET).hex() not in repr(Key(ID, digest(SECRET), Principal("a")))
    assert repr(digest(SECRET)) not in repr(Key(ID, digest(SECRET), Principal("a")))


LINES = f"# team b\nkey {ID} {HASH} principal=b allow=chat expires=2027-01-31T00:00:00Z\ncert x principal=x allow=chat"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_file_that_is_cut_within_a_line_is_known_by_the_one_before(end: str) -> None:
    """Wherever it is cut; where a line is whole it may be all of a file that ends without a line break."""
    before = LINES + end
    for length in range(len(before)):
        text = before[:length]
        whole = not text or text[-1] in "\r\n" or text.splitlines()[-1] in before.splitlines()
        assert cut_line(text, before) == (None if whole else len(text.splitlines())), text


@pytest.mark.parametrize(
    "text",
    [
        LINES,
        LINES + "\n",
        LINES.replace("allow=chat", "allow=*"),
        LINES.replace(" allow=chat", "") + "\n",
        LINES + "\ncert y principal=y",
        LINES.rpartition("\n")[0],
        "",
    ],
)
def test_a_file_that_says_something_else_is_not_taken_for_cut(text: str) -> None:
    """With or without a line break at its end: lines that go, come, or are changed."""
    assert cut_line(text, LINES) is None
    assert cut_line(text, "") is None
