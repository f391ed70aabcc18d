"""Who is asking, and may they: issued keys by bearer token or signature, and client certificates.

Strategy: in two steps around the reading of the body. `claim` needs the head only and refuses whoever can't be right
(no credential, an unknown or expired key, a wrong token, a time that is off), so that strangers can't make us hold
bodies; `Claimed.prove` holds body and head against the signature. Whether the principal may call the endpoint is asked
by name, before anything is looked up: a refusal does not tell what exists.

A caller's own IAM credentials can't be verified, as nobody but AWS knows their secrets; so AWS SDKs get static
credentials that we issued (`pointsman key new`), unchanged otherwise.

Replays: boto3 (1.44.5) signs no nonce and its time has full seconds, so two equal calls within one second have equal
signatures. A signature may therefore come again for `REPEAT` seconds after it was first seen, and never later. The
memory for that is bounded, and one for all workers (`replays`); nothing older than the window would be accepted.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from backends.base import Headers
from backends.http.edge import Certificate, Exchange
from backends.wire.bearer import bearer_tokens
from backends.wire.sagemaker import ErrorReply, WireError
from backends.wire.sagemaker.errors import access_denied, not_authenticated
from backends.wire.sigv4 import Signer
from backends.wire.sigv4_verify import WINDOW, Claim, Flaw, Unverified, is_signature, read_claim, verify

from .keys import Key, KeyFile, Principal, derived, digest, read_token
from .replays import Replays

log = logging.getLogger("pointsman.auth")

REPEAT = 2.0
"""Seconds in which an equal signature is taken for an equal call of the same second."""

_UNKNOWN = ErrorReply(403, "UnrecognizedClientException", "The security token included in the request is invalid.")
_MISSING = not_authenticated(
    "MissingAuthenticationTokenException",
    "Missing Authentication Token: sign with credentials that were issued for this proxy, or send one of its bearer "
    "tokens (Authorization: Bearer pm-...).",
)
_MISMATCH = not_authenticated(
    "InvalidSignatureException",
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details.",
)
_REPLAYED = not_authenticated(
    "InvalidSignatureException", "The signature was used before: sign each request anew, and each attempt of it."
)
_EXPIRED = not_authenticated("ExpiredTokenException", "The key has expired: ask for a new one.")
_OVER = not_authenticated("ExpiredTokenException", "The client certificate has expired: connect with a renewed one.")
_STRANGER = not_authenticated("UnrecognizedClientException", "The client certificate is of nobody that is known here.")


@dataclass(frozen=True, slots=True)
class Claimed:
    """What the head of a request says about its sender; `prove` makes it a principal."""

    _principal: Principal
    _claim: Claim | None = None
    _secret: str = ""

    @property
    def proven(self) -> bool:
        """Nothing is left to be held against the body."""
        return self._claim is None


class Doorkeeper:
    """Authenticates requests; one for a process. `keys` may be replaced at any time."""

    def __init__(
        self, keys: KeyFile, master: bytes | None, now: Callable[[], float], seen: Replays, *, certificates: bool
    ) -> None:
        """`now`: seconds since the epoch. `seen`: the signatures that were. `certificates`: TLS asks clients for them,
        so their names can be trusted."""
        self.keys = keys
        self._master = master
        self._now = now
        self._certificates = certificates
        self._signer = Signer()
        self._seen = seen

    def claim(self, headers: Headers, certificate: Certificate | None) -> Claimed:
        """Who sent a head, unless it can't be true. Raises WireError."""
        values = [value for name, value in headers if name.lower() == "authorization"]
        if any(map(is_signature, values)):
            return self._signed(headers)
        if tokens := tuple(bearer_tokens(values)):
            return Claimed(self._bearer(tokens))
        if self._certificates and certificate is not None:
            return Claimed(self._certified(certificate))
        raise WireError(_MISSING)

    def prove(self, claimed: Claimed, method: str, raw_path: str, headers: Headers, body: bytes) -> Principal:
        """The principal, once the whole request is held against its signature. Raises WireError."""
        claim = claimed._claim
        if claim is not None:
            try:
                verify(claim, method, raw_path, headers, body, claimed._secret, self._signer)
            except Unverified as error:
                raise WireError(_MISMATCH) from error
            self._once(claim)
        return claimed._principal

    def authenticate(self, exchange: Exchange, body: bytes = b"") -> Principal:
        """Both steps at once, for a request whose body is at hand. Raises WireError."""
        claimed = self.claim(exchange.headers, exchange.certificate)
        return self.prove(claimed, exchange.method, exchange.raw_path, exchange.headers, body)

    def _signed(self, headers: Headers) -> Claimed:
        try:
            claim = read_claim(headers, self._now())
        except Unverified as error:
            kind = "IncompleteSignatureException" if error.flaw is Flaw.FORM else "InvalidSignatureException"
            raise WireError(not_authenticated(kind, f"{str(error)[0].upper()}{str(error)[1:]}.")) from error
        key = self._known(claim.access_key)
        if self._master is None:
            raise WireError(_UNKNOWN)
        secret = derived(self._master, key.id)
        if not hmac.compare_digest(digest(secret), key.digest):  # issued under another master secret
            raise WireError(_UNKNOWN)
        return Claimed(key.principal, claim, secret)

    def _bearer(self, tokens: Iterable[str]) -> Principal:
        for text in tokens:
            found = read_token(text)
            if found is not None:
                key = self.keys.keys.get(found[0])
                # An unknown id costs the same as a wrong secret, so that ids can't be told by the time it takes.
                expected = key.digest if key is not None else b"\0" * 32
                if hmac.compare_digest(digest(found[1]), expected) and key is not None:
                    return self._valid(key).principal
        raise WireError(_UNKNOWN)

    def _certified(self, certificate: Certificate) -> Principal:
        """A certificate of the client CA stands for its common name; a key file's `cert` lines say which are let in,
        and one without such lines lets none in: whose line was the last to be taken out may call nothing."""
        if self._now() >= certificate.until:
            raise WireError(_OVER)
        known = self.keys.certificates
        if known is None:
            return Principal(certificate.name)
        principal = known.get(certificate.name)
        if principal is None:
            raise WireError(_STRANGER)
        if principal.expires is not None and self._now() >= principal.expires:
            raise WireError(_EXPIRED)
        return principal

    def _known(self, key_id: str) -> Key:
        key = self.keys.keys.get(key_id)
        if key is None:
            raise WireError(_UNKNOWN)
        return self._valid(key)

    def _valid(self, key: Key) -> Key:
        if key.principal.expires is not None and self._now() >= key.principal.expires:
            raise WireError(_EXPIRED)
        return key

    def _once(self, claim: Claim) -> None:
        now = self._now()
        # A clock that was put back is no excuse for a copy: what was seen "later" than now was seen before.
        if abs(now - self._seen.first_seen(bytes.fromhex(claim.signature), now, 2 * WINDOW)) > REPEAT:
            raise WireError(_REPLAYED)


def permit(principal: Principal, operation: str, endpoint: str, component: str | None) -> None:
    """Raises WireError unless the principal's allow-list has the endpoint."""
    if not principal.may(endpoint, component):
        raise WireError(access_denied(principal.name, operation, "/".join(filter(None, (endpoint, component)))))
