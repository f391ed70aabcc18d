"""Callers at a running proxy's door: unchanged boto3, bearer tokens, certificates over TLS, and files that change."""

from __future__ import annotations

import asyncio
import io
import json
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from backends.base import Reply
from proxy.door import Door, load_certificate, read_master, tls_context, watch_certificate
from proxy.keys import Key, Principal, derived, digest, fresh_id, line, token
from proxy.server import running
from proxy.settings import Settings, SettingsError

from .parts import Scripted, services

TLS = Path(__file__).parents[1] / "data" / "tls"
MASTER = "m" * 43
ID = fresh_id(b"a" * 11)
SECRET = derived(MASTER.encode(), ID)
BEARER = f"Authorization: Bearer {token(ID, SECRET)}"
TEAM = line(Key(ID, digest(SECRET), Principal("team-a", ("chat", "packed/*"))))


@dataclass
class Running:
    """A proxy with a door."""

    port: int
    door: Door
    log: io.BytesIO
    backend: Scripted


def given(folder: Path, text: str = TEAM, **more: Any) -> Settings:
    """Settings with a key file and a master secret in `folder`."""
    (folder / "keys").write_text(text)
    master = folder / "master"
    master.write_text(MASTER + "\n")
    master.chmod(0o600)
    files = {"keys": str(folder / "keys"), "keys_secret": str(master)}
    return Settings(policy="unused", port=0, admin_port=0, drain=1.0, **{**files, **more})


def with_tls(**more: Any) -> dict[str, Any]:
    return {"tls_cert": str(TLS / "server.pem"), "tls_key": str(TLS / "server.key"), **more}


@asynccontextmanager
async def guarded(
    settings: Settings, answers: int = 1, wall: Callable[[], float] = time.time
) -> AsyncIterator[Running]:
    backend, log = Scripted([Reply(body=b"hi", content_type="text/plain") for _ in range(answers)]), io.BytesIO()
    door = Door(settings, wall)
    parts = replace(await services(backend, log=log, now=asyncio.get_running_loop().time), door=door)
    async with running(settings, parts) as addresses:
        yield Running(addresses.port, door, log, backend)
    parts.log.close()


def client(port: int, key_id: str = ID, secret: str = SECRET, scheme: str = "http", **more: Any) -> Any:
    return boto3.session.Session().client(
        "sagemaker-runtime",
        region_name="eu-west-1",
        endpoint_url=f"{scheme}://127.0.0.1:{port}",
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}),
        **more,
    )


def call(made: Any, **more: Any) -> str:
    """The answer's text, or the type of the error."""
    try:
        body: bytes = made.invoke_endpoint(**{"EndpointName": "chat", "Body": b"{}", **more})["Body"].read()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    finally:
        made.close()
    return body.decode()


async def ask(port: int, head: str, body: bytes = b"", tls: ssl.SSLContext | None = None) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    fields = f"Host: h\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + b"\r\n" + fields.encode() + body)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    top, _, rest = answer.partition(b"\r\n\r\n")
    return int(top.split()[1]), rest


@pytest.mark.parametrize(("name", "logged"), [("packed", "packed"), ("nowhere", "")])
@pytest.mark.parametrize(("shown", "who"), [(BEARER, "team-a"), ("Authorization: Bearer pm-nobody", None)])
async def test_the_log_names_the_refused(name: str, logged: str, shown: str, who: str | None, tmp_path: Path) -> None:
    """One of the policy's: a client's own word is no label. Strangers as well: their keys may have run out at night."""
    key = line(Key(ID, digest(SECRET), Principal("team-a", ("chat",))))
    async with guarded(given(tmp_path, key)) as there:
        assert (await ask(there.port, f"POST /endpoints/{name}/invocations HTTP/1.1\r\n{shown}", b"{}"))[0] == 403
    said = json.loads(there.log.getvalue())
    assert (said["endpoint"], said.get("principal"), said["ended"]) == (logged, who, "refused")


async def test_unchanged_boto3_signs_with_issued_credentials(tmp_path: Path) -> None:
    """Static credentials and an endpoint URL, nothing else; every modelled header is covered, and the log says who."""
    async with guarded(given(tmp_path)) as there:
        made = client(there.port)
        said = await asyncio.to_thread(call, made, CustomAttributes="k=v", SessionId="s", ContentType="text/csv")
        assert said == "hi"
    assert json.loads(there.log.getvalue())["principal"] == "team-a"
    assert SECRET.encode() not in there.log.getvalue()
    assert b"Signature" not in there.log.getvalue()


@pytest.mark.parametrize(
    ("key_id", "secret", "endpoint", "kind"),
    [
        (ID, "wrong", "chat", "InvalidSignatureException"),
        ("AKIAIOSFODNN7EXAMPLE", SECRET, "chat", "UnrecognizedClientException"),
        (ID, SECRET, "alone", "AccessDeniedException"),
        (ID, SECRET, "nowhere", "AccessDeniedException"),
    ],
)
async def test_boto3_sees_awss_own_errors(tmp_path: Path, key_id: str, secret: str, endpoint: str, kind: str) -> None:
    """What is not allowed looks the same whether it exists or not, and reaches no target."""
    async with guarded(given(tmp_path)) as there:
        assert await asyncio.to_thread(call, client(there.port, key_id, secret), EndpointName=endpoint) == kind
        assert there.backend.calls == []
    assert json.loads(there.log.getvalue())["error_type"] == kind


async def test_a_captured_request_cannot_be_sent_again(tmp_path: Path) -> None:
    """The same bytes a while later are refused, although their signature is right and in time."""
    sent: list[bytes] = []
    async with guarded(given(tmp_path)) as there:
        now = time.time()
        there.door.keeper._now = lambda: now
        made = client(there.port)

        def keep(request: Any, **_: Any) -> None:
            head = "".join(
                f"{k}: {v.decode() if isinstance(v, bytes) else v}\r\n"
                for k, v in request.headers.items()
                if k != "Host"
            )
            path = f"POST /endpoints/chat/invocations HTTP/1.1\r\nHost: 127.0.0.1:{there.port}\r\nConnection: close\r\n"
            sent.append((path + head + "\r\n").encode() + bytes(request.body))

        made.meta.events.register("before-send.*", keep)
        assert await asyncio.to_thread(call, made) == "hi"
        now += 3
        reader, writer = await asyncio.open_connection("127.0.0.1", there.port)
        writer.write(sent[0])
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert b" 403 " in answer.split(b"\r\n")[0]
    assert b"used before" in answer


async def test_bearer_tokens_open_both_contracts(tmp_path: Path) -> None:
    """curl and OpenAI clients send one token, each is refused in its own shape; the file may begin with a BOM."""
    async with guarded(given(tmp_path, "\ufeff" + TEAM), answers=2) as there:
        runtime = "POST /endpoints/chat/invocations HTTP/1.1"
        openai = "POST /v1/chat/completions HTTP/1.1"
        assert await ask(there.port, f"{runtime}\r\n{BEARER}", b"{}") == (200, b"hi")
        assert (await ask(there.port, f"{openai}\r\n{BEARER}", b'{"model": "chat"}'))[0] == 200
        status, body = await ask(there.port, runtime, b"{}")
        assert (status, "Missing Authentication Token" in json.loads(body)["Message"]) == (403, True)
        status, body = await ask(there.port, openai, b'{"model": "chat"}')
        assert (status, json.loads(body)["error"]["code"]) == (401, "invalid_api_key")
        status, body = await ask(there.port, f"{openai}\r\n{BEARER}", b'{"model": "alone"}')
        assert (status, json.loads(body)["error"]["code"]) == (403, "insufficient_permissions")


async def test_strangers_do_not_make_us_hold_their_bodies(tmp_path: Path) -> None:
    """The refusal comes while the body is still on its way."""
    async with guarded(given(tmp_path)) as there:
        reader, writer = await asyncio.open_connection("127.0.0.1", there.port)
        writer.write(b"POST /endpoints/chat/invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nx")
        assert b" 403 " in await reader.readline()
        writer.close()
        await writer.wait_closed()


async def test_the_list_of_models_is_what_may_be_called(tmp_path: Path) -> None:
    """Nobody learns of an endpoint that they may not call, and strangers learn of none."""
    async with guarded(given(tmp_path)) as there:
        status, body = await ask(there.port, f"GET /v1/models HTTP/1.1\r\n{BEARER}")
        assert (status, [each["id"] for each in json.loads(body)["data"]]) == (200, ["chat", "packed/one"])
        assert (await ask(there.port, "GET /v1/models HTTP/1.1"))[0] == 401


async def test_a_key_that_is_taken_out_is_refused_and_a_broken_file_changes_nothing(tmp_path: Path) -> None:
    """The watch sees both; what can't be read keeps the keys that are in force."""
    settings = given(tmp_path)
    door, looks = Door(settings, time.time), asyncio.Queue[float]()

    async def pause(seconds: float) -> None:
        looks.put_nowait(seconds)
        await asyncio.Event().wait() if looks.qsize() > 1 else await asyncio.sleep(0)

    for text, left in (("nonsense", 1), ("# nobody", 0)):
        (tmp_path / "keys").write_text(text)
        looks = asyncio.Queue()
        watching = asyncio.ensure_future(door.watch(pause))
        await looks.get()
        await looks.get()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        assert len(door.keeper.keys.keys) == left
    (tmp_path / "keys").unlink()
    assert not door.reload()


async def test_a_client_certificate_is_a_principal(tmp_path: Path) -> None:
    """Its common name stands in the log, and `cert` lines say what it may call; without one TLS itself refuses."""
    tls = ssl.create_default_context(cafile=str(TLS / "ca.pem"))
    settings = given(tmp_path, keys=None, keys_secret=None, **with_tls(tls_client_ca=str(TLS / "ca.pem")))
    async with guarded(settings) as there:
        with pytest.raises((ssl.SSLError, ConnectionError, ValueError, IndexError)):
            await ask(there.port, "POST /endpoints/chat/invocations HTTP/1.1", b"{}", tls)
        tls.load_cert_chain(TLS / "client.pem", TLS / "client.key")
        assert await ask(there.port, "POST /endpoints/chat/invocations HTTP/1.1", b"{}", tls) == (200, b"hi")
    assert json.loads(there.log.getvalue().splitlines()[-1])["principal"] == "team-a"


@pytest.mark.parametrize("others", ["cert team-b principal=b", ""])
async def test_with_keys_a_certificate_or_a_key_will_do(others: str, tmp_path: Path) -> None:
    """A certificate that no line names is refused, also where no line names any; a key without one is not."""
    tls = ssl.create_default_context(cafile=str(TLS / "ca.pem"))
    settings = given(tmp_path, f"{TEAM}\n{others}", **with_tls(tls_client_ca=str(TLS / "ca.pem")))
    async with guarded(settings) as there:
        request = "POST /endpoints/chat/invocations HTTP/1.1"
        assert await ask(there.port, f"{request}\r\n{BEARER}", b"{}", tls) == (200, b"hi")
        tls.load_cert_chain(TLS / "client.pem", TLS / "client.key")
        assert (await ask(there.port, request, b"{}", tls))[0] == 403


async def test_boto3_over_tls(tmp_path: Path) -> None:
    """The port speaks TLS alone: 1.2 and later, with the certificate that it was given."""
    async with guarded(given(tmp_path, **with_tls())) as there:
        made = client(there.port, scheme="https", verify=str(TLS / "ca.pem"))
        assert await asyncio.to_thread(call, made) == "hi"
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        assert (await ask(there.port, "GET /v1/models HTTP/1.1", tls=old))[0] == 401


async def test_a_renewed_certificate_is_used_and_a_broken_one_is_not(tmp_path: Path) -> None:
    """From the next handshake on, without a restart; a chain that does not fit its key changes nothing."""
    for name in ("server.pem", "server.key"):
        (tmp_path / name).write_bytes((TLS / name).read_bytes())
    cert, key = tmp_path / "server.pem", tmp_path / "server.key"
    settings = given(tmp_path, tls_cert=str(cert), tls_key=str(key))
    context = tls_context(settings)
    assert context is not None

    def renew() -> None:
        key.write_bytes((TLS / "client.key").read_bytes())
        cert.write_bytes((TLS / "client.pem").read_bytes())

    renewals: list[Callable[[], object]] = [renew, lambda: cert.write_bytes(b"broken"), cert.unlink]
    done = asyncio.Event()

    async def pause(seconds: float) -> None:
        if not renewals:
            done.set()
            await asyncio.Event().wait()
        renewals.pop(0)()
        if cert.exists():
            os.utime(cert, ns=(0, 1000 + len(renewals)))

    watching = asyncio.ensure_future(watch_certificate(context, settings, pause))
    await done.wait()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert await shown(context) == "team-a"


@pytest.mark.parametrize("key_first", [True, False])
async def test_chain_and_key_are_renewed_in_any_order(tmp_path: Path, key_first: bool) -> None:
    """While one does not fit the other handshakes have the old ones; once both are there, the new ones."""
    for name in ("server.pem", "server.key"):
        (tmp_path / name).write_bytes((TLS / name).read_bytes())
    settings = given(tmp_path, tls_cert=str(tmp_path / "server.pem"), tls_key=str(tmp_path / "server.key"))
    context = tls_context(settings)
    assert context is not None
    seen = []
    renewed = ["pem", "key"]
    if key_first:
        renewed.reverse()

    async def pause(seconds: float) -> None:
        seen.append(await shown(context))
        if not renewed:
            raise asyncio.CancelledError
        kind = renewed.pop(0)
        (tmp_path / f"server.{kind}").write_bytes((TLS / f"client.{kind}").read_bytes())
        os.utime(tmp_path / f"server.{kind}", ns=(0, 1000 + len(renewed)))

    with pytest.raises(asyncio.CancelledError):
        await watch_certificate(context, settings, pause)
    assert seen == ["localhost", "localhost", "team-a"]


async def shown(context: ssl.SSLContext) -> str:
    """The common name that a server with this context shows."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    asking = ssl.create_default_context(cafile=str(TLS / "ca.pem"))
    _, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1], ssl=asking)
    certificate = writer.get_extra_info("peercert")
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    return str(dict(part[0] for part in certificate["subject"])["commonName"])


def test_certificates_are_read_again(tmp_path: Path) -> None:
    """A renewed certificate is used from the next handshake on; one that is broken is named."""
    for name in ("server.pem", "server.key"):
        (tmp_path / name).write_bytes((TLS / name).read_bytes())
    settings = given(tmp_path, tls_cert=str(tmp_path / "server.pem"), tls_key=str(tmp_path / "server.key"))
    context = tls_context(settings)
    assert context is not None
    load_certificate(context, settings)
    (tmp_path / "server.key").write_bytes((TLS / "client.key").read_bytes())
    with pytest.raises(SettingsError, match=r"--tls-cert .*server\.pem"):
        load_certificate(context, settings)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (with_tls(tls_cert="/nowhere.pem"), "--tls-cert /nowhere.pem"),
        (with_tls(tls_client_ca="/nowhere.pem"), "--tls-client-ca /nowhere.pem"),
        (with_tls(tls_cert=__file__), "no chain and key in PEM that fit each other"),
        (with_tls(tls_client_ca=__file__), "no certificate in PEM"),
    ],
)
def test_tls_files_that_cannot_be_used_are_named(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    """Before anything listens."""
    with pytest.raises(SettingsError, match=said):
        tls_context(given(tmp_path, **more))


def test_without_a_certificate_there_is_no_tls(tmp_path: Path) -> None:
    """Loopback, and what stands behind a load balancer that ends TLS."""
    assert tls_context(given(tmp_path)) is None


@pytest.mark.parametrize("text", ["nonsense", "key x y"])
def test_a_broken_key_file_does_not_start(tmp_path: Path, text: str) -> None:
    """The line is named; a proxy that would let nobody in, or everybody, does not serve."""
    with pytest.raises(SettingsError, match="keys, line 1"):
        Door(given(tmp_path, text), time.time)


def test_a_missing_key_file_does_not_start(tmp_path: Path) -> None:
    """Nor does one that is not text."""
    settings = given(tmp_path)
    (tmp_path / "keys").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="not UTF-8"):
        Door(settings, time.time)
    (tmp_path / "keys").unlink()
    with pytest.raises(SettingsError, match=r"--keys .*: No such file or directory; `pointsman key new`"):
        Door(settings, time.time)


def test_a_master_secret_has_to_be_secret_and_long(tmp_path: Path) -> None:
    """Readable by others, too short, or not there: each with what to do."""
    path = tmp_path / "master"
    with pytest.raises(SettingsError, match="pointsman key new"):
        read_master(path)
    path.write_text("short")
    os.chmod(path, 0o600)
    with pytest.raises(SettingsError, match="shorter than 32"):
        read_master(path)
    path.write_text(MASTER)
    assert read_master(path) == MASTER.encode()
    os.chmod(path, 0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        read_master(path)
