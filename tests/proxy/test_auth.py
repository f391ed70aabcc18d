"""Who is asking: every credential that is let in, and every way to be refused, typed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MappingProxyType

import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from backends.base import Headers
from backends.http.edge import Certificate
from backends.wire.sagemaker import WireError
from proxy.auth import REPEAT, Doorkeeper, permit
from proxy.keys import NO_KEYS, Key, KeyFile, Principal, derived, digest, fresh_id, token
from proxy.replays import Replays

from ..backends.wire.test_sigv4_verify import _At

MASTER = b"m" * 32
ID = fresh_id(b"a" * 11)
SECRET = derived(MASTER, ID)
NOW = 1_795_262_400.0
STAMP = "20261121T120000Z"
PRINCIPAL = Principal("team-a", ("chat",), NOW + 1000)
PATH = "/endpoints/chat/invocations"


@dataclass
class Clock:
    """Seconds since the epoch, as a test says."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


def keeper(
    clock: Callable[[], float] | None = None,
    *,
    master: bytes | None = MASTER,
    certificates: bool = False,
    known: dict[str, Principal] | None = None,
) -> Doorkeeper:
    keys = {ID: Key(ID, digest(SECRET), PRINCIPAL)}
    return Doorkeeper(
        NO_KEYS if known is None and certificates else KeyFile(MappingProxyType(keys), MappingProxyType(known or {})),
        master,
        clock or Clock(),
        Replays(),
        certificates=certificates,
    )


def signed(key_id: str = ID, secret: str = SECRET, body: bytes = b"{}", stamp: str = STAMP) -> Headers:
    request = AWSRequest(method="POST", url=f"http://h{PATH}", data=body)
    _At(Credentials(key_id, secret), "sagemaker", "us-east-1").sign_at(request, stamp)
    return (("Host", "h"), *((name, str(value)) for name, value in request.headers.items()))


def bearer(text: str) -> Headers:
    return (("Host", "h"), ("authorization", f"Bearer {text}"))


def asked(
    door: Doorkeeper, headers: Headers, body: bytes = b"{}", common_name: str | None = None, until: float = NOW + 1
) -> Principal:
    shown = None if common_name is None else Certificate(common_name, until)
    return door.prove(door.claim(headers, shown), "POST", PATH, headers, body)


def refused(
    door: Doorkeeper, headers: Headers, body: bytes = b"{}", common_name: str | None = None, until: float = NOW + 1
) -> str:
    with pytest.raises(WireError) as found:
        asked(door, headers, body, common_name, until)
    assert found.value.reply.status == 403
    assert SECRET not in str(found.value)
    return found.value.reply.type


def test_a_bearer_token_is_its_principal() -> None:
    """Nothing is left to be proven once the head is read."""
    door = keeper(master=None)
    assert asked(door, bearer(token(ID, SECRET))) == PRINCIPAL
    assert door.claim(bearer(token(ID, SECRET)), None).proven


def test_a_signature_is_its_principal_once_the_body_is_there() -> None:
    """The claim alone proves nothing."""
    door = keeper()
    assert not door.claim(signed(), None).proven
    assert asked(door, signed()) == PRINCIPAL


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ((("Host", "h"),), "MissingAuthenticationTokenException"),
        ((("Authorization", "Basic eDp5"),), "MissingAuthenticationTokenException"),
        (bearer(token(ID, SECRET[:-1] + "!")), "UnrecognizedClientException"),
        (bearer(token(ID, "A" * 43)), "UnrecognizedClientException"),
        (bearer(token(fresh_id(b"b" * 11), SECRET)), "UnrecognizedClientException"),
        (bearer("sagemaker-api-key-xyz"), "UnrecognizedClientException"),
        (signed(key_id="AKIAIOSFODNN7EXAMPLE"), "UnrecognizedClientException"),
        (signed(secret="wrong"), "InvalidSignatureException"),
        (signed(body=b"other"), "InvalidSignatureException"),
        (signed(stamp="20261121T110000Z"), "InvalidSignatureException"),
        ((("Authorization", "AWS4-HMAC-SHA256 nonsense"),), "IncompleteSignatureException"),
    ],
)
def test_everybody_else_is_refused_in_awss_words(headers: Headers, kind: str) -> None:
    """No credential, a wrong one, an unknown one, a signature of something else or of another time."""
    assert refused(keeper(), headers) == kind


def test_a_message_names_the_flaw_as_a_sentence() -> None:
    """So that whoever has a wrong clock knows it."""
    with pytest.raises(WireError) as found:
        keeper().claim(signed(stamp="20261121T110000Z"), None)
    assert found.value.reply.message == "The time of signing is more than five minutes away."


def test_strangers_are_refused_before_their_body_is_read() -> None:
    """What can be told from the head is told from it: an unknown key, an expired one, a clock that is off."""
    for headers in (signed(key_id="AKIAIOSFODNN7EXAMPLE"), signed(stamp="20261121T110000Z"), bearer("x"), ()):
        with pytest.raises(WireError):
            keeper().claim(headers, None)


def test_an_expired_key_is_refused_however_it_is_shown() -> None:
    """From its very second on."""
    clock = Clock(NOW + 999)
    door = keeper(clock)
    assert asked(door, bearer(token(ID, SECRET))) == PRINCIPAL
    clock.now += 1
    assert refused(door, bearer(token(ID, SECRET))) == "ExpiredTokenException"
    assert refused(door, signed(stamp="20261121T121640Z")) == "ExpiredTokenException"


def test_without_the_master_secret_nobody_can_sign() -> None:
    """The file has hashes only; a key of another master secret is none of ours either."""
    assert refused(keeper(master=None), signed()) == "UnrecognizedClientException"
    assert refused(keeper(master=b"n" * 32), signed(secret=derived(b"n" * 32, ID))) == "UnrecognizedClientException"


def test_a_replay_is_refused_and_a_twin_is_not() -> None:
    """Equal calls of one second have equal signatures; the same signature later is somebody's copy."""
    clock = Clock()
    door = keeper(clock)
    headers = signed()
    assert asked(door, headers) == PRINCIPAL
    clock.now += REPEAT
    assert asked(door, headers) == PRINCIPAL
    clock.now += 0.1
    assert refused(door, headers) == "InvalidSignatureException"
    clock.now = NOW + 299
    assert refused(door, headers) == "InvalidSignatureException"
    clock.now = NOW + 601
    assert refused(door, headers) == "InvalidSignatureException"


def test_a_clock_that_is_put_back_lets_no_replay_in() -> None:
    """What was seen later than it is now was seen: a clock that was a minute fast would else open that minute again."""
    clock = Clock()
    door = keeper(clock)
    headers = signed()
    assert asked(door, headers) == PRINCIPAL
    clock.now -= 60
    assert refused(door, headers) == "InvalidSignatureException"
    clock.now += 120
    assert refused(door, headers) == "InvalidSignatureException"


def test_a_signature_that_does_not_match_is_not_remembered() -> None:
    """Nobody can use up a signature, or the memory for them, by guessing."""
    clock = Clock()
    door = keeper(clock)
    for _ in range(3):
        refused(door, signed(secret="wrong"))
    with pytest.raises(WireError):  # the signature is right, the body is not
        asked(door, signed(), b"other")
    clock.now += REPEAT + 1
    assert asked(door, signed()) == PRINCIPAL


@pytest.mark.parametrize(
    ("known", "who"),
    [
        (None, Principal("build")),
        ({"build": PRINCIPAL}, PRINCIPAL),
    ],
)
def test_a_certificate_stands_for_its_name(known: dict[str, Principal] | None, who: Principal) -> None:
    """Every one of the CA's without a key file; with one, the principal of its `cert` line."""
    assert asked(keeper(certificates=True, known=known), (), common_name="build") == who


def test_a_certificate_of_nobody_is_refused() -> None:
    """The file's certificates are all, and all of none is none; where TLS does not verify them, none counts."""
    door = keeper(certificates=True, known={"build": replace(PRINCIPAL, expires=NOW)})
    assert refused(door, (), common_name="other") == "UnrecognizedClientException"
    assert refused(door, (), common_name="build") == "ExpiredTokenException"
    assert refused(keeper(certificates=True, known={}), (), common_name="build") == "UnrecognizedClientException"
    assert refused(keeper(), (), common_name="build") == "MissingAuthenticationTokenException"


@pytest.mark.parametrize("known", [None, {"build": PRINCIPAL}])
def test_a_certificate_that_has_run_out_is_refused(known: dict[str, Principal] | None) -> None:
    """TLS looks at it once, and its connection and the sessions that are resumed last longer than it may."""
    door = keeper(certificates=True, known=known)
    assert asked(door, (), common_name="build", until=NOW + 0.5).name
    assert refused(door, (), common_name="build", until=NOW) == "ExpiredTokenException"


def test_a_wrong_credential_is_not_mended_by_a_certificate() -> None:
    """Who shows both is held to the one that says more."""
    assert (
        refused(keeper(certificates=True, known={}), bearer(token(ID, "A" * 43)), common_name="b")
        == "UnrecognizedClientException"
    )


def test_an_allow_list_is_asked_by_name() -> None:
    """In IAM's words, naming who, what and where."""
    permit(PRINCIPAL, "InvokeEndpoint", "chat", None)
    with pytest.raises(WireError) as found:
        permit(PRINCIPAL, "InvokeEndpoint", "packed", "one")
    assert found.value.reply.type == "AccessDeniedException"
    assert found.value.reply.message == (
        "User: team-a is not authorized to perform: sagemaker:InvokeEndpoint on resource: endpoint/packed/one"
    )
