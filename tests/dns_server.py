"""A name server for tests, and a resolver that asks it: real packets, so that a name can change its mind."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import socket
import struct
import threading
from collections.abc import Callable, Iterator

A, AAAA = 1, 28
_IN, _NO_SUCH_NAME = 1, 3

Answers = Callable[[str, int], list[str]]
"""(name, number of questions about it before) -> its addresses, of either family; none: there is no such name."""


class DnsServer:
    """Answers questions for A and AAAA on a port of the loopback interface. `asked` counts lookups by name."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._socket.getsockname()
        self.asked: dict[str, int] = {}
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def resolve(self, host: str, port: int) -> list[str]:
        """As documents.callbacks.addresses.Resolver. Addresses as they are written need no server."""
        with contextlib.suppress(ValueError):
            return [str(ipaddress.ip_address(host))]
        name = host.removesuffix(".").lower()
        found = [address for kind in (A, AAAA) for address in self._ask(name, kind)]
        self.asked[name] = self.asked.get(name, 0) + 1
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return found

    def close(self) -> None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"stop", self.address)
        self._thread.join(5)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            packet, client = self._socket.recvfrom(4096)
            if packet == b"stop":
                return
            self._socket.sendto(self._reply(packet), client)

    def _reply(self, packet: bytes) -> bytes:
        name, end = _name(packet, 12)
        (kind,) = struct.unpack_from("!H", packet, end)
        known = [ipaddress.ip_address(address) for address in self._answers(name, self.asked.get(name, 0))]
        wanted = [ip.packed for ip in known if (ip.version == 4) == (kind == A)]
        flags = 0x8580 | (0 if known else _NO_SUCH_NAME)
        records = b"".join(
            b"\xc0\x0c" + struct.pack("!HHIH", kind, _IN, 0, len(packed)) + packed  # to be kept for 0 seconds
            for packed in wanted
        )
        return packet[:2] + struct.pack("!HHHHH", flags, 1, len(wanted), 0, 0) + packet[12 : end + 4] + records

    def _ask(self, name: str, kind: int) -> Iterator[str]:
        labels = b"".join(bytes([len(label)]) + label for label in name.encode("idna").split(b"."))
        number = secrets.token_bytes(2)
        query = number + struct.pack("!HHHHH", 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, _IN)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.sendto(query, self.address)
            reply = client.recv(4096)
        assert reply[:2] == number
        at = len(query)
        for _ in range(struct.unpack_from("!H", reply, 6)[0]):
            length = struct.unpack_from("!H", reply, at + 10)[0]
            yield str(ipaddress.ip_address(reply[at + 12 : at + 12 + length]))
            at += 12 + length


def _name(packet: bytes, at: int) -> tuple[str, int]:
    labels = []
    while packet[at]:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode())
        at += 1 + packet[at]
    return ".".join(labels).lower(), at + 1


@contextlib.contextmanager
def dns_server(answers: Answers) -> Iterator[DnsServer]:
    running = DnsServer(answers)
    try:
        yield running
    finally:
        running.close()
