"""What goes wrong below HTTP, said by sockets of our own; certificates and proxies of the environment."""

import asyncio
import gzip
import json
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from inference.clients import Endpoint, Trouble
from inference.models import Card
from inference.request import Request, Response
from warehouse.errors import CaravanError

PROVIDERS = pytest.mark.parametrize("provider", ["openai", "anthropic"])
# An answer in the terms of both APIs.
BODY = json.dumps(
    {
        "choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}],
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
).encode()
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file")


def ok(body: bytes = BODY, headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), headers, body)


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxies and certificates but those of a test."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@asynccontextmanager
async def serving(reply: bytes, heard: list[bytes], tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that says `reply` to whoever has asked, then hangs up: with a reset where there is none. Its port."""

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heard.append(head)
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        await reader.readexactly(int(length[0].split(b":")[1]) if length else 0)
        if reply:
            writer.write(reply)
            await writer.drain()
        else:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()

    async with await asyncio.start_server(hear, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]


async def ask(provider: str, url: str, key: str | None = None) -> Response:
    card = Card("m", provider, "MIT", (url,), key=key, output=9)
    endpoint = Endpoint(card, url, concurrency=1, timeout=5)
    try:
        return await endpoint.ask(Request(provider, "m", ({"role": "user", "content": "Hello"},)), 1)
    finally:
        await endpoint.close()


def told(reply: bytes, do: Callable[[int], Awaitable[Response]], tls: ssl.SSLContext | None = None) -> list[bytes]:
    """What the server heard while `do(port)` got its answer."""
    heard: list[bytes] = []

    async def run() -> None:
        async with serving(reply, heard, tls) as port:
            found = await do(port)
            assert (found.status, found.content) == ("ok", "Hi")

    asyncio.run(run())
    return heard


@PROVIDERS
@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        CHUNKED + b"5\r\n{",
        CHUNKED + b"zz\r\n{",
        ok(b"not packed", b"Content-Encoding: gzip\r\n"),
        ok(b""),
        b"HTTP/1.1 307 There\r\nLocation: ftp://there/\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_an_answer_that_breaks_may_be_charged(provider: str, reply: bytes):
    with pytest.raises(Trouble) as caught:
        told(reply, lambda port: ask(provider, f"http://127.0.0.1:{port}/v1"))
    found = caught.value
    assert (found.charged, found.reached, found.down) == (True, True, True)
    assert "\n" not in str(found)


@PROVIDERS
@pytest.mark.parametrize(
    "reply", [ok(gzip.compress(BODY), b"Content-Encoding: gzip\r\n"), b"HTTP/1.0 200 OK\r\n\r\n" + BODY]
)
def test_packed_and_old_fashioned_answers(provider: str, reply: bytes):
    assert len(told(reply, lambda port: ask(provider, f"http://127.0.0.1:{port}/v1"))) == 1


@PROVIDERS
def test_certificates_of_the_environment(provider: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    own, key = tmp_path / "own.pem", tmp_path / "key.pem"
    names = ["-subj", "/CN=ours", "-addext", "subjectAltName=IP:127.0.0.1"]
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subprocess.run([openssl, *new, *names, "-keyout", str(key), "-out", str(own)], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(own, key)
    with pytest.raises(Trouble, match="CERTIFICATE_VERIFY_FAILED") as caught:
        told(ok(), lambda port: ask(provider, f"https://127.0.0.1:{port}/v1"), tls)
    assert (caught.value.charged, caught.value.reached) == (False, False)
    monkeypatch.setenv("SSL_CERT_FILE", str(own))
    assert len(told(ok(), lambda port: ask(provider, f"https://127.0.0.1:{port}/v1"), tls)) == 1


@PROVIDERS
def test_proxies_of_the_environment(provider: str, monkeypatch: pytest.MonkeyPatch):
    async def through(port: int) -> Response:
        monkeypatch.setenv("http_proxy", f"http://somebody:secret@127.0.0.1:{port}")
        return await ask(provider, "http://no-such-host.invalid/v1")

    (head,) = told(ok(), through)
    assert head.startswith(b"POST http://no-such-host.invalid/v1/")
    assert b"proxy-authorization: basic " in head.lower()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (head,) = told(ok(), lambda port: ask(provider, f"http://127.0.0.1:{port}/v1"))
    assert head.startswith(b"POST /v1/")


@PROVIDERS
def test_a_proxy_that_is_of_no_use(provider: str, monkeypatch: pytest.MonkeyPatch):
    async def refused(port: int) -> Response:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        return await ask(provider, "https://no-such-host.invalid/v1")

    with pytest.raises(Trouble, match="407") as caught:
        told(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", refused)
    assert (caught.value.charged, caught.value.reached) == (False, False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(Trouble) as caught:
        asyncio.run(ask(provider, "http://no-such-host.invalid/v1"))
    assert (caught.value.charged, caught.value.reached) == (False, False)


@PROVIDERS
def test_a_key_that_no_header_can_hold(provider: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LOOP_KEY", "sk-planted-one\nsk-planted-two")
    with pytest.raises(CaravanError, match="Is the key in LOOP_KEY whole") as caught:
        told(ok(), lambda port: ask(provider, f"http://127.0.0.1:{port}/v1", "LOOP_KEY"))
    assert "planted" not in str(caught.value)
