"""Ways out: proxies and trust by the variables that curl and AWS's SDKs read."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from backends.http.egress import DIRECT, Egress, ForwardProxy, egress_of
from backends.http.transport import HttpTransport, TransportError

from .scripts import Script, answering, outgoing, read, scripted

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NEAR, FAR = ForwardProxy("near", 3128), ForwardProxy("far", 80)


@pytest.mark.parametrize(
    ("variables", "http", "https"),
    [
        pytest.param({}, None, None, id="none"),
        pytest.param({"HTTPS_PROXY": "http://near:3128"}, None, NEAR, id="one"),
        pytest.param({"HTTP_PROXY": "near:3128", "HTTPS_PROXY": "far"}, NEAR, FAR, id="without a scheme"),
        pytest.param({"HTTP_PROXY": "http://far", "http_proxy": "http://near:3128/"}, NEAR, None, id="lower case wins"),
        pytest.param({"HTTP_PROXY": "http://far", "http_proxy": ""}, None, None, id="lower case takes it back"),
        pytest.param(
            {"HTTPS_PROXY": "http://me:p%40ss@near:3128"},
            None,
            ForwardProxy("near", 3128, "Proxy-Authorization: Basic bWU6cEBzcw==\r\n"),
            id="who we are",
        ),
        pytest.param({"HTTP_PROXY": "http://[::1]:8"}, ForwardProxy("::1", 8), None, id="IPv6"),
    ],
)
def test_proxies_are_read(variables: dict[str, str], http: ForwardProxy | None, https: ForwardProxy | None) -> None:
    """By the scheme of the target."""
    egress = egress_of(variables)
    assert (egress.http, egress.https) == (http, https)
    assert egress.proxy(tls=False, host="engine.test", port=80) == http
    assert egress.proxy(tls=True, host="engine.test", port=443) == https


@pytest.mark.parametrize(
    "text", ["socks5://near:1080", "https://near", "http://", "http://near:port", "a b", "http://:8"]
)
def test_what_is_no_http_proxy_is_refused_by_name(text: str) -> None:
    """Its own text may hold a password, and is not repeated."""
    with pytest.raises(
        ValueError, match=r"HTTPS_PROXY is no http:// address of a proxy: write http://HOST:PORT"
    ) as told:
        egress_of({"HTTPS_PROXY": text.replace("//near", "//me:hush@near")})
    assert "hush" not in str(told.value)


@pytest.mark.parametrize(
    ("exceptions", "host", "port", "direct"),
    [
        ("", "engine.test", 80, False),
        ("", "localhost", 80, True),
        ("", "127.8.8.8", 80, True),
        ("", "::1", 80, True),
        ("*", "engine.test", 80, True),
        ("other, engine.test", "engine.test", 80, True),
        ("other engine.test", "Engine.Test.", 80, True),
        ("test", "engine.test", 80, True),
        (".test", "engine.test", 80, True),
        ("*.test", "engine.test", 80, True),
        ("st", "engine.test", 80, False),
        (".engine.test", "engine.test", 80, True),
        ("engine.test:8000", "engine.test", 8000, True),
        ("engine.test:8000", "engine.test", 80, False),
        ("10.1.2.3", "10.1.2.3", 80, True),
        ("2.3", "10.1.2.3", 80, False),
        ("10.1.2.3:80", "10.1.2.3", 80, True),
        ("10.0.0.0/8", "10.1.2.3", 80, True),
        ("10.0.0.0/8", "11.1.2.3", 80, False),
        ("fd00::/8", "fd12::1", 80, True),
        ("[fd12::1]:80", "fd12::1", 80, True),
        (",, ,", "engine.test", 80, False),
        (".", "engine.test", 80, False),
        ("a:b:c", "engine.test", 80, False),
    ],
)
def test_exceptions_are_reached_directly(exceptions: str, host: str, port: int, direct: bool) -> None:
    """As NO_PROXY is written for others: names with what lies in them, addresses, nets, ports; this machine always."""
    egress = egress_of({"HTTP_PROXY": "near:3128", "NO_PROXY": exceptions})
    assert (egress.proxy(tls=False, host=host, port=port) is None) == direct


def test_what_is_in_force_is_told_without_a_secret(certificate: tuple[Path, Path]) -> None:
    """For the log; nothing where nothing is said."""
    variables = {"HTTPS_PROXY": "http://me:hush@near:3128", "NO_PROXY": ".test", "AWS_CA_BUNDLE": str(certificate[0])}
    assert egress_of(variables).words == (
        "https targets by the proxy near:3128, directly: .test, AWS_CA_BUNDLE is believed"
    )
    assert "Basic" not in repr(egress_of(variables))
    assert DIRECT.words == egress_of({"NO_PROXY": ".test"}).words == ""


def test_a_bundle_may_be_a_folder(tmp_path: Path) -> None:
    """Of certificates by their hashes, as OpenSSL reads them."""
    assert egress_of({"AWS_CA_BUNDLE": str(tmp_path)}).trust is not None


def test_a_bundle_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    """With what is wrong: trusting less than was said would fail later, and without a word of why."""
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(ValueError, match=r"AWS_CA_BUNDLE can't be used: .*nowhere: No such file"):
        egress_of({"AWS_CA_BUNDLE": str(tmp_path / "nowhere")})
    with pytest.raises(ValueError, match=r"AWS_CA_BUNDLE can't be used: .*empty.pem: it has no certificate in PEM"):
        egress_of({"AWS_CA_BUNDLE": str(tmp_path / "empty.pem")})


def forwarding(upstream: str, seen: list[bytes]) -> Script:
    """An HTTP proxy that knows CONNECT, and one upstream by whatever name; who does not say who it is gets a 407, and
    port 1 a 502."""
    host, port = upstream.removeprefix("https://").split(":")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head)
        if b"Proxy-Authorization: Basic bWU6cGFzcw==\r\n" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        elif b":1 " in head:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        else:
            there, away = await asyncio.open_connection(host, int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(pump(reader, away), pump(there, writer), return_exceptions=True)

    return script


def known(proxy: str, **more: str) -> dict[str, str]:
    """Variables of a process that may use `proxy`."""
    address = proxy.replace("http://", "http://me:pass@")
    return {"HTTPS_PROXY": address, "HTTP_PROXY": address, **more}


async def test_targets_are_tunnelled_to(certificate: tuple[Path, Path], server_context: ssl.SSLContext) -> None:
    """https ones by CONNECT: verified end to end, by the name that only the proxy can resolve. What is refused there
    was not sent."""
    seen: list[bytes] = []
    async with scripted(answering(OK), server_context) as url, scripted(forwarding(url, seen)) as proxy:
        through = HttpTransport(egress_of(known(proxy, AWS_CA_BUNDLE=str(certificate[0]))))
        for _ in range(2):
            assert await read(through, outgoing("https://engine.test:8443")) == b"ok"
        with pytest.raises(TransportError, match="CONNECT with 502") as refused:
            await read(through, outgoing("https://engine.test:1"))
        await through.aclose()
        stranger = HttpTransport(egress_of({"HTTPS_PROXY": proxy}))
        with pytest.raises(TransportError, match="CONNECT with 407"):
            await read(stranger, outgoing("https://engine.test:8443"))
        await stranger.aclose()
    assert seen[0].startswith(b"CONNECT engine.test:8443 HTTP/1.1\r\nHost: engine.test:8443\r\n")
    assert refused.value.sent is False


async def test_plain_targets_go_through_a_proxy_by_their_whole_address() -> None:
    """With who we are, and with nothing of it to those that are reached directly."""
    asked, reached = list[bytes](), list[bytes]()
    async with scripted(answering(OK, asked)) as proxy, scripted(answering(OK, reached)) as url:
        through = HttpTransport(egress_of(known(proxy)))
        assert await read(through, outgoing("http://engine.test")) == b"ok"
        assert await read(through, outgoing(url)) == b"ok"
        await through.aclose()
    line = b"POST http://engine.test/a%3Ab%2Fc HTTP/1.1\r\nHost: engine.test\r\n"
    assert asked[0].startswith(line + b"Proxy-Authorization: Basic bWU6cGFzcw==\r\n")
    assert b"Proxy-Authorization" not in reached[0]


async def test_own_authority_is_trusted_beside_the_systems(
    certificate: tuple[Path, Path], server_context: ssl.SSLContext, transport: HttpTransport
) -> None:
    """A certificate that nobody vouches for is refused before the request is sent."""
    own = HttpTransport(Egress(trust=egress_of({"AWS_CA_BUNDLE": str(certificate[0])}).trust))
    async with scripted(answering(OK), server_context) as url:
        with pytest.raises(TransportError, match="TLS failed") as caught:
            await read(transport, outgoing(url))
        assert caught.value.facts.retry_safe is True
        assert await read(own, outgoing(url)) == b"ok"
    await own.aclose()
