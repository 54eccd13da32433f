"""One POST: to the checked address, once, within its deadline."""

import datetime
import ipaddress
import ssl
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from documents.callbacks.addresses import CallbackRefused
from documents.callbacks.client import Answer, CallbackUnreachable, post
from tests.receivers import Receiver, answer, drip, hang, receiver, reset


def send(url: str, *, seconds: float = 5.0, **options) -> Answer:
    settings = {"allow_private": True, "response_bytes": 100, "headers": {"webhook-id": "msg_1"}, **options}
    return post(url, body=b'{"type":"task.completed"}', seconds=seconds, **settings)


def test_the_request_arrives_as_it_was_sent() -> None:
    with receiver(answer(200, body=b"thank you")) as server:
        got = send(server.url)
    assert got == Answer(status=200, retry_after="", excerpt="thank you")
    received = server.received[0]
    assert received.line == "POST /hook?key=1 HTTP/1.1"
    assert received.headers["host"] == f"127.0.0.1:{server.port}"
    assert received.headers["webhook-id"] == "msg_1"
    assert received.body == b'{"type":"task.completed"}'


def test_without_permission_nothing_is_connected_to_a_private_address() -> None:
    with receiver() as server:
        with pytest.raises(CallbackRefused):
            send(server.url, allow_private=False)
        assert server.connections == 0


def test_the_name_is_resolved_once_and_only_the_checked_address_is_used() -> None:
    # Given a name server that gives another address to each question
    with receiver() as server:
        answers = iter([["127.0.0.1"], ["127.0.0.2"]])
        # When a webhook is sent to that name
        got = send(f"http://rebinding.test:{server.port}/", resolver=lambda host, port: next(answers))
    # Then the first answer was used, the name is in the Host header, and nobody asked again
    assert got.status == 204
    assert server.received[0].headers["host"] == f"rebinding.test:{server.port}"
    assert next(answers) == ["127.0.0.2"]


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as proxy, receiver() as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert send(server.url).status == 204
        assert proxy.connections == 0


def test_a_redirect_is_not_followed() -> None:
    with receiver() as elsewhere, receiver(answer(307, headers={"Location": elsewhere.url})) as server:
        assert send(server.url).status == 307
        assert elsewhere.connections == 0


def test_a_dead_address_does_not_keep_the_next_one_from_being_tried(free_port: int) -> None:
    with receiver() as server:
        got = send(f"http://two.test:{server.port}/", resolver=lambda host, port: ["127.0.0.9", "127.0.0.1"])
    assert got.status == 204


@pytest.mark.parametrize(
    "behaviour",
    [hang, drip(b""), drip(b"HTTP/1.1 200 OK\r\nX-Endless: "), drip(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 1")],
    ids=["hangs", "drips from the first byte", "drips headers", "drips after 100"],
)
def test_a_receiver_that_gives_no_answer_costs_no_more_than_the_deadline(behaviour) -> None:
    with receiver(behaviour) as server:
        started = time.monotonic()
        with pytest.raises(CallbackUnreachable) as caught:
            send(server.url, seconds=0.6)
    assert time.monotonic() - started < 2
    assert caught.value.retryable


def test_a_dripping_body_ends_with_the_deadline_and_the_status_counts() -> None:
    with receiver(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhello ")) as server:
        started = time.monotonic()
        got = send(server.url, seconds=0.6)
    assert time.monotonic() - started < 2
    assert got.status == 200
    assert got.excerpt.startswith("hello")


def test_a_huge_answer_is_read_to_the_cap() -> None:
    with receiver(answer(500, body=b"y" * 50_000_000)) as server:
        assert send(server.url).excerpt == "y" * 100


def test_bytes_that_no_database_stores_are_replaced() -> None:
    with receiver(answer(200, body=b"a\0b\xff")) as server:
        assert send(server.url).excerpt == "a\ufffdb\ufffd"


@pytest.mark.parametrize(
    "behaviour", [reset, drip(b"\x16\x03\x01 not http at all\r\n\r\n")], ids=["resets", "speaks something else"]
)
def test_a_broken_receiver_is_a_passing_fault(behaviour) -> None:
    with receiver(behaviour) as server, pytest.raises(CallbackUnreachable) as caught:
        send(server.url, seconds=2)
    assert caught.value.retryable


def test_nobody_listening_is_a_passing_fault(free_port: int) -> None:
    with pytest.raises(CallbackUnreachable):
        send(f"http://127.0.0.1:{free_port}/")


class Authority:
    """A certificate of its own for a name or an address."""

    def __init__(self, directory: Path, *, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([_general_name(name)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        self.file = directory / "certificate.pem"
        self.file.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self.names: list[str | None] = []

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file)
        context.sni_callback = lambda sock, name, ctx: self.names.append(name)
        return context

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.file))


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def send_over_tls(server: Receiver, name: str, authority: Authority) -> Answer:
    return send(
        f"https://{name}:{server.port}/",
        resolver=lambda host, port: ["127.0.0.1"],
        ssl_context=authority.client(),
    )


def test_https_keeps_the_name_in_sni_host_and_certificate_check(tmp_path: Path) -> None:
    authority = Authority(tmp_path, name="receiver.test")
    with receiver(tls=authority.server()) as server:
        assert send_over_tls(server, "receiver.test", authority).status == 204
    assert authority.names == ["receiver.test"]
    assert server.received[0].headers["host"] == f"receiver.test:{server.port}"


def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path, name="other.test")
    with receiver(tls=authority.server()) as server, pytest.raises(CallbackUnreachable):
        send_over_tls(server, "receiver.test", authority)
    assert server.received == []
