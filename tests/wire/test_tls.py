"""Is a server that is not who it should be told apart before anything is said to it?

Certificates of an unknown authority, expired, for another host: each is an error that says what is wrong, and that
server gets not a byte of HTTP.  And what the handshake says: the server's name, HTTP/1.1 and nothing else.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
import trustme

from synth_actors.wire.transport import LeanTransport
from tests.wire.certificates import Certificates
from tests.wire.framings import TEXT, with_length
from tests.wire.scripted import Peer, Scripted
from tests.wire.tls_by_hand import ByHand
from tests.wire.transports import NAMES, Name, open_transport

WRONG: dict[str, tuple[Callable[[Certificates], trustme.LeafCert], str]] = {
    "of an unknown authority": (lambda it: it.of_an_unknown_authority, "unable to get local issuer certificate"),
    "expired": (lambda it: it.expired, "certificate has expired"),
    "for another host": (
        lambda it: it.for_another_host,
        "IP address mismatch, certificate is not valid for '127.0.0.1'",
    ),
}

each_transport = pytest.mark.parametrize("name", NAMES)


def answers(peer: Peer) -> None:
    while peer.request() is not None:
        peer.send(with_length(TEXT))


def client_of(name: Name, verify: ssl.SSLContext | bool = True) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=open_transport(name, verify))


def says(failure: httpx2.ConnectError, name: Name, what: str) -> bool:
    """Whether the error tells the user `what` is wrong; httpx2's, on trio, has no text: its cause's cause has it."""
    return str(failure) == "" if name == "httpx2" else what in str(failure)


@each_transport
@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_certificate_is_named_and_its_server_gets_nothing(
    name: Name, certificates: Certificates, wrong: str
) -> None:
    certificate, said = WRONG[wrong]
    with Scripted(answers, certificates.server(certificate(certificates))) as server:
        async with client_of(name, certificates.client()) as client:
            with pytest.raises(httpx2.ConnectError) as failed:
                await client.post(server.url, content=b"a secret", headers={"Authorization": "Bearer secret"})
    assert says(failed.value, name, said)
    assert len(server.refused_handshakes) == 1
    assert (server.connections, server.heads) == (0, []), "nobody got as far as HTTP"


@each_transport
async def test_a_wrong_name_is_said_as_the_user_wrote_it(name: Name, certificates: Certificates) -> None:
    with Scripted(answers, certificates.server(certificates.for_another_host)) as server:
        async with client_of(name, certificates.client()) as client:
            with pytest.raises(httpx2.ConnectError) as failed:
                await client.post(f"https://localhost:{server.port}")
    assert says(failed.value, name, "not valid for 'localhost'")
    assert server.connections == 0


@each_transport
async def test_the_handshake_says_the_name_and_offers_http_1_1_alone(name: Name, certificates: Certificates) -> None:
    names: list[str | None] = []
    chosen: list[str | None] = []
    context = certificates.server()
    context.sni_callback = lambda _, server_name, __: names.append(server_name)
    context.set_alpn_protocols(["h2", "http/1.1"])  # the server's choice, were both offered

    def script(peer: Peer) -> None:
        chosen.append(peer.tls.selected_alpn_protocol())
        answers(peer)

    with Scripted(script, context) as server:
        async with client_of(name, certificates.client()) as client:
            await client.post(f"https://localhost:{server.port}")
            await client.post(f"https://127.0.0.1:{server.port}")  # an address is no name (RFC 6066, section 3)
        async with client_of(name, certificates.client()) as client:
            await client.post(server.url, extensions={"sni_hostname": "localhost"})
    assert chosen == ["http/1.1"] * 3
    assert names == ["localhost", None, "localhost"]


@each_transport
async def test_who_verifies_nothing_gets_an_answer_from_anybody(name: Name, certificates: Certificates) -> None:
    with Scripted(answers, certificates.server(certificates.expired)) as server:
        async with client_of(name, verify=False) as client:
            assert (await client.post(server.url)).content == TEXT


@each_transport
async def test_the_file_that_the_environment_names_is_trusted_instead_of_the_systems(
    name: Name, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "authorities.pem"
    certificates.authority.cert_pem.write_to_path(bundle)
    with Scripted(answers, certificates.server()) as server:
        async with client_of(name) as client:
            with pytest.raises(httpx2.ConnectError):  # the system does not know this authority
                await client.post(server.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
        async with client_of(name) as client:
            assert (await client.post(server.url)).content == TEXT
    assert (len(server.refused_handshakes), server.connections) == (1, 1)


async def test_ours_takes_the_path_of_a_file(certificates: Certificates, tmp_path: Path) -> None:
    bundle = tmp_path / "authorities.pem"
    certificates.authority.cert_pem.write_to_path(bundle)
    with Scripted(answers, certificates.server()) as server:
        async with httpx2.AsyncClient(transport=LeanTransport(verify=str(bundle))) as client:
            assert (await client.post(server.url)).content == TEXT


async def test_certificates_that_are_not_there_are_said_to_be_missing(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = str(tmp_path / "missing.pem")
    with pytest.raises(FileNotFoundError):
        LeanTransport(verify=missing)
    monkeypatch.setenv("SSL_CERT_FILE", missing)
    with Scripted(answers, certificates.server()) as server:
        async with httpx2.AsyncClient(transport=LeanTransport()) as client:
            with pytest.raises(httpx2.ConnectError, match="no certificates to check the server by"):
                await client.post(server.url)
    assert (server.connections, server.heads) == (0, [])


async def test_ours_leaves_the_environment_alone_when_told_so(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "authorities.pem"
    certificates.authority.cert_pem.write_to_path(bundle)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    with Scripted(answers, certificates.server()) as server:
        async with httpx2.AsyncClient(transport=LeanTransport(trust_env=False)) as client:
            with pytest.raises(httpx2.ConnectError):
                await client.post(server.url)


@each_transport
async def test_a_server_that_speaks_no_tls_is_an_error_and_gets_nothing(name: Name, certificates: Certificates) -> None:
    def script(peer: Peer) -> None:
        peer.send(with_length(TEXT))
        assert b"HTTP" not in peer.unread(), "a hello of TLS is all it got"

    with Scripted(script, None) as server:
        async with client_of(name, certificates.client()) as client:
            with pytest.raises(httpx2.ConnectError) as failed:
                await client.post(f"https://127.0.0.1:{server.port}")
    assert says(failed.value, name, "TLS")


@each_transport
async def test_a_server_that_leaves_during_the_handshake_is_an_error(name: Name, certificates: Certificates) -> None:
    with Scripted(Peer.close, None) as server:
        async with client_of(name, certificates.client()) as client:
            with pytest.raises(httpx2.ConnectError) as failed:
                await client.post(f"https://127.0.0.1:{server.port}")
    assert says(failed.value, name, "during the handshake") or "reset" in str(failed.value)


@each_transport
async def test_a_server_that_speaks_only_tls_1_2_is_understood(name: Name, certificates: Certificates) -> None:
    context = certificates.server()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with Scripted(answers, context) as server:
        async with client_of(name, certificates.client()) as client:
            for _ in range(3):
                assert (await client.post(server.url, content=b"x" * 100_000)).content == TEXT
    assert server.connections == 1


FOLLOWING: dict[str, Callable[[ByHand], bytes]] = {
    "another answer": lambda tls: tls.sealed(with_length(b"stale")),
    "an end": lambda tls: tls.goodbye(),
}


@each_transport
@pytest.mark.parametrize("following", FOLLOWING)
async def test_a_record_that_came_with_the_answer_and_was_not_asked_for_ends_the_connection(
    name: Name, certificates: Certificates, following: str
) -> None:
    read: list[int] = []

    def script(peer: Peer) -> None:
        tls = ByHand(peer, certificates.server(), peer.send)
        tls.shake_hands()
        tls.request()
        peer.send(tls.sealed(with_length(TEXT)) + (FOLLOWING[following](tls) if peer.number == 1 else b""))
        read.append(peer.number)
        tls.request()
        read.append(peer.number)

    with Scripted(script, None) as server:
        async with client_of(name, certificates.client()) as client:
            url = f"https://127.0.0.1:{server.port}"
            assert (await client.get(url)).content == TEXT
            if name == "httpx2":  # it asks the socket alone, and the record has been taken from there
                await hears_the_record(client, url, following)
                return
            assert (await client.get(url)).content == TEXT
    assert server.connections == 2
    assert read == [1, 2], "not a byte more on the first connection"


async def hears_the_record(client: httpx2.AsyncClient, url: str, following: str) -> None:
    if following == "another answer":
        assert (await client.get(url)).content == b"stale"
    else:
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.get(url)
