"""Keys that we issue: who may call what until when. Text in, frozen values out; hashes only.

A line of the key file is `key ID sha256:HEX principal=NAME allow=GLOB,... expires=TIME`, or for a client certificate
`cert COMMON-NAME principal=NAME allow=GLOB,...`. Blank lines and comments, from a word that begins with `#`, are
skipped; anything else is an error with its line, and all errors come in one report.

A key is an id and a secret of 256 random bits, for which one SHA-256 is enough: there is nothing to guess, so nothing
to make slow. As a bearer token it is `pm-ID-SECRET`. For AWS SDKs it is an access key id and a secret access key; since
a signature can only be verified by someone who has the secret, and the file has hashes only, such secrets are derived
from the id and a master secret that lies elsewhere (`--keys-secret`). Whoever has the file alone can call nothing.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from hashlib import sha256
from types import MappingProxyType

TOKEN_PREFIX = "pm-"  # noqa: S105 - how a token begins, no token
MASTER_BYTES = 32
"""Shortest master secret."""

_ID = re.compile(r"PMK[A-Z2-7]{17}", re.ASCII)
_TOKEN = re.compile(r"pm-(PMK[A-Z2-7]{17})-([A-Za-z0-9_-]{43})", re.ASCII)
_HASH = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)
_NAME = re.compile(r"[\w.@:/-]{1,64}", re.ASCII)
_COMMENT = re.compile(r"(?:^|\s)#")
"""Not within a word: what follows there would be left out unsaid, a narrow allow-list or the end of a key's time."""
_FORMS = {
    "id": "PMK and 17 letters and digits, as `pointsman key new` prints it",
    "principal": "1 to 64 letters, digits and _ . @ : / -, without spaces",
    "common name": "1 to 64 letters, digits and _ . @ : / -, without spaces",
    "glob in allow": "names of endpoints, or endpoint/component, with * and ?; commas and no spaces between them",
}
_GLOB = re.compile(r"[A-Za-z0-9*?\[\]!-]{1,128}(/[A-Za-z0-9*?\[\]!-]{1,128})?", re.ASCII)


class KeyFileError(Exception):
    """The key file can't be used; the message names every line that is wrong, and no secret."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom a credential stands for."""

    name: str
    allow: tuple[str, ...] = ("*",)
    """Globs over endpoint names; `endpoint/component` for a component alone."""
    expires: float | None = None
    """Seconds since the epoch."""

    def may(self, endpoint: str, component: str | None) -> bool:
        """Whether the allow-list has the endpoint. A glob without a slash allows all of an endpoint's components."""
        whole = f"{endpoint}/{component or ''}"
        return any(fnmatchcase(whole if "/" in glob else endpoint, glob) for glob in self.allow)


@dataclass(frozen=True, slots=True)
class Key:
    """An issued key, without its secret."""

    id: str
    digest: bytes = field(repr=False)
    principal: Principal


@dataclass(frozen=True, slots=True)
class KeyFile:
    """All that a key file says."""

    keys: Mapping[str, Key]
    certificates: Mapping[str, Principal] | None
    """By the subject's common name. None: there is no file, which alone lets every name in."""


NO_KEYS = KeyFile(MappingProxyType({}), None)


def digest(secret: str) -> bytes:
    """What the file keeps of a secret."""
    return sha256(secret.encode()).digest()


def derived(master: bytes, key_id: str) -> str:
    """The secret of a key that belongs to a master secret: 43 characters, safe in a URL and in a shell."""
    return encoded(hmac.digest(master, b"pointsman key " + key_id.encode(), "sha256"))


def encoded(secret: bytes) -> str:
    """32 bytes as 43 characters."""
    return base64.urlsafe_b64encode(secret).rstrip(b"=").decode()


def fresh_id(entropy: bytes) -> str:
    """A key id out of eleven random bytes."""
    return "PMK" + base64.b32encode(entropy).decode()[:17]


def token(key_id: str, secret: str) -> str:
    """A key as a bearer token."""
    return f"{TOKEN_PREFIX}{key_id}-{secret}"


def read_token(text: str) -> tuple[str, str] | None:
    """Id and secret of a bearer token; None when it is not one of ours."""
    found = _TOKEN.fullmatch(text)
    return (found[1], found[2]) if found else None


def line(key: Key) -> str:
    """A key as a line of the file."""
    until = (
        datetime.fromtimestamp(key.principal.expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if key.principal.expires
        else ""
    )
    allow = ",".join(key.principal.allow)
    words = ["key", key.id, f"sha256:{key.digest.hex()}", f"principal={key.principal.name}", f"allow={allow}"]
    return " ".join([*words, *([f"expires={until}"] if until else [])])


def read_keys(text: str, name: str = "the key file") -> KeyFile:
    """The keys of a file. Raises KeyFileError with every problem of it."""
    keys: dict[str, Key] = {}
    certificates: dict[str, Principal] = {}
    problems: list[str] = []
    for number, words in _lines(text):
        try:
            match words:
                case ["key", key_id, hashed, *rest]:
                    _once(key_id, keys)
                    keys[key_id] = Key(_matched(_ID, key_id, "id"), _digest(hashed), _principal(rest))
                case ["cert", common, *rest]:
                    _once(common, certificates)
                    certificates[_matched(_NAME, common, "common name")] = _principal(rest)
                case _:
                    raise ValueError("begin with `key ID sha256:HEX` (from `pointsman key new`) or `cert NAME`")  # noqa: EM101, TRY301 - the problem itself
        except ValueError as error:
            problems.append(f"{name}, line {number}: {error}")
    if problems:
        raise KeyFileError("\n".join(problems))
    return KeyFile(MappingProxyType(keys), MappingProxyType(certificates))


def cut_line(text: str, before: str) -> int | None:
    """The number of the last line, where `text` looks like a file in the middle of being written over `before`: without
    a line break, and the beginning of a line there. Cut before `allow=` a line allows everything, before `expires=` it
    never ends. None where nothing speaks for that: many a whole file ends without a line break.
    """
    lines, known = text.splitlines(), before.splitlines()
    if not lines or text[-1] in "\r\n" or lines[-1] in known:
        return None
    return len(lines) if any(each.startswith(lines[-1]) for each in known) else None


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    for number, each in enumerate(text.splitlines(), 1):
        words = _COMMENT.split(each, maxsplit=1)[0].split()
        if words:
            yield number, words


def _once(name: str, known: Mapping[str, object]) -> None:
    if name in known:
        msg = "the same name stands above: remove one of the two lines"
        raise ValueError(msg)


def _matched(form: re.Pattern[str], text: str, what: str) -> str:
    if not form.fullmatch(text):
        msg = f"that {what} has another form: {_FORMS[what]}"
        raise ValueError(msg)
    return text


def _digest(text: str) -> bytes:
    found = _HASH.fullmatch(text)
    if found is None:
        msg = "the hash has to be sha256: and 64 hex digits; a secret itself does not belong here"
        raise ValueError(msg)
    return bytes.fromhex(found[1])


def _principal(words: list[str]) -> Principal:
    given = dict(word.partition("=")[::2] for word in words)
    if len(given) != len(words) or not given.keys() <= {"principal", "allow", "expires"} or "principal" not in given:
        msg = (
            "after the name come principal=NAME, allow=GLOB,... and expires=TIME, each once and without spaces; "
            "principal is needed"
        )
        raise ValueError(msg)
    allow = tuple(_matched(_GLOB, glob, "glob in allow") for glob in given.get("allow", "*").split(","))
    return Principal(_matched(_NAME, given["principal"], "principal"), allow, _time(given.get("expires")))


def _time(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        msg = "expires has to be a time with its zone, as 2027-01-31T00:00:00Z"
        raise ValueError(msg)
    return found.timestamp()
