"""Whatever the URL and whatever the name server says: no connection to an address that is not public.

The connections are made by a backend that notes where to. What is public for the client leads to a receiver on this
machine, so that nothing leaves it.
"""

from collections.abc import Iterator
from typing import Any

import httpcore
import pytest

from documents.callbacks.addresses import CallbackRefused, CallbackUnresolved, why_not_public
from documents.callbacks.client import Answer, post
from tests.dns_server import DnsServer, dns_server
from tests.receivers import Receiver, receiver

PUBLIC, PUBLIC_6 = "93.184.216.34", "2606:2800:220:1::1"

NAMES = {
    "loop.example": ["127.0.0.1"], "loop6.example": ["::1"], "zero.example": ["0.0.0.0"], "any6.example": ["::"],
    "ten.example": ["10.1.2.3"], "b.example": ["172.20.0.1"], "c.example": ["192.168.0.1"],
    "carrier.example": ["100.64.3.2"], "metadata.example": ["169.254.169.254"], "metadata6.example": ["fd00:ec2::254"],
    "link.example": ["fe80::1"], "site.example": ["fec0::1"], "unique.example": ["fc00::7"],
    "mapped.example": ["::ffff:10.0.0.1"], "mappedpublic.example": ["::ffff:8.8.8.8"],
    "compatible.example": ["::127.0.0.1"], "nat64.example": ["64:ff9b::a00:1"], "nat64local.example": ["64:ff9b:1::1"],
    "6to4.example": ["2002:a00:1::1"], "teredo.example": ["2001:0:a00:1::1"], "orchid.example": ["2001:20::1"],
    "doc.example": ["192.0.2.5"], "doc6.example": ["2001:db8::5"], "doc62.example": ["3fff::5"],
    "bench.example": ["198.18.0.5"], "bench6.example": ["2001:2::5"], "multicast.example": ["224.0.0.251"],
    "multicast6.example": ["ff02::fb"], "broadcast.example": ["255.255.255.255"], "future.example": ["250.1.1.1"],
    "relay.example": ["192.88.99.1"], "ietf.example": ["192.0.0.170"], "segments.example": ["5f00::1"],
    "discard.example": ["100::1"], "mixed.example": [PUBLIC, "10.0.0.1"], "mixed6.example": [PUBLIC, "fd00::1"],
    "mixedlast.example": [PUBLIC_6, PUBLIC, "127.0.0.1"], "nobody.example": [],
}  # fmt: skip
"""Names that lead where webhooks must not go."""

WRITTEN = [
    "http://127.0.0.1/", "http://127.0.0.1:8000/", "http://127.1/", "http://127.0.1/", "http://0/", "http://0x7f.1/",
    "http://0x7f000001/", "http://2130706433/", "http://017700000001/", "http://0177.0.0.1/", "http://127.0.0.1./",
    "http://①②⑦.⓪.⓪.①/", "http://127。0。0。1/", "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/", "http://[::1]/", "http://[::]/",
    "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/",
    "http://[2001:0:7f00:1::]/", "http://[fe80::1%25lo]/", "http://[fe80::1%lo]/", "http://[::127.0.0.1]/",
    "http://10.0.0.1/", "http://192.168.1.1:8080/", "http://169.254.169.254/latest/meta-data/",
    "http://100.100.100.200/", "http://[fd00:ec2::254]/", "http://localhost/", "http://LOCALHOST/",
    "http://localhost./", "http://a.localhost/", "http://host.docker.internal/", "http://metadata.google.internal/",
    "http://kubernetes.default.svc.cluster.local/", "http://printer.local/", "http://router.home.arpa/",
    "http://good.example@127.0.0.1/", "http://127.0.0.1#@good.example/", "http://good.example:x@10.0.0.1/",
    "http://good.example\\@127.0.0.1/", "http://127.0.0.1\\.good.example/", "http://good.example:25/",
    "http://good.example:22/", "http://good.example:6/", "http://good.example:0/", "http://good%2eexample/",
    "http://127.0.0.1%2f.good.example/", "gopher://good.example/", "file:///etc/passwd", "ftp://good.example/",
    "unix:///var/run/docker.sock", "http+unix://%2Fvar%2Frun%2Fdocker.sock/", "dict://good.example:11211/",
    "http:127.0.0.1/", "http:///127.0.0.1/", "//127.0.0.1/", "http://good.example\r\nHost: 127.0.0.1/",
    "http://good.example /", "http://[v1.fe80::1]/", "javascript:alert(1)",
]  # fmt: skip
"""URLs that are refused, or must not lead where they seem to."""


class Watched(httpcore.SyncBackend):
    """Notes the addresses that are connected to. Public ones lead to the receiver."""

    def __init__(self, to: Receiver) -> None:
        self.connected: list[str] = []
        self._to = to

    def connect_tcp(self, host: str, port: int, **options: Any) -> httpcore.NetworkStream:
        self.connected.append(host)
        return super().connect_tcp("127.0.0.1", self._to.port, **options)


def answers(name: str, times: int) -> list[str]:
    if name == "rebinding.example":  # public for whoever checks, loopback for whoever connects
        return [PUBLIC] if times == 0 else ["127.0.0.1"]
    return NAMES.get(name, [PUBLIC])


@pytest.fixture
def names() -> Iterator[DnsServer]:
    with dns_server(answers) as server:
        yield server


@pytest.fixture
def inside() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


def send(url: str, names: DnsServer, network: httpcore.NetworkBackend) -> Answer:
    return post(
        url, body=b"{}", headers={}, seconds=5, response_bytes=10, resolver=names.resolve, network=network
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_that_leads_inside_is_not_connected_to(
    scheme: str, name: str, names: DnsServer, inside: Receiver
) -> None:
    network = Watched(inside)
    with pytest.raises(CallbackUnresolved) as caught:
        send(f"{scheme}://{name}/hook", names, network)
    assert network.connected == []
    assert inside.connections == 0
    # And all of them read the same, but for the name
    assert caught.value.message == f"The host name {name} has no address that webhooks may go to."


@pytest.mark.parametrize("url", WRITTEN)
def test_a_hostile_url_is_refused_before_anything_is_asked_or_connected(
    url: str, names: DnsServer, inside: Receiver
) -> None:
    network = Watched(inside)
    with pytest.raises(CallbackRefused):
        send(url, names, network)
    assert network.connected == []
    assert names.asked == {}


def test_a_name_that_rebinds_is_asked_once_and_used_as_it_was_checked(names: DnsServer, inside: Receiver) -> None:
    # Given a name server that answers with a public address first, and with loopback from then on
    network = Watched(inside)
    # When a webhook is sent there
    assert send("http://rebinding.example/hook", names, network).status == 204
    # Then the connection went to the address that had been checked
    assert network.connected == [PUBLIC]
    assert names.asked == {"rebinding.example": 1}
    assert inside.received[0].headers["host"] == "rebinding.example"
    # And the next attempt, which asks again, is not fooled
    with pytest.raises(CallbackUnresolved):
        send("http://rebinding.example/hook", names, network)
    assert network.connected == [PUBLIC]


def test_the_matrix_is_as_large_as_it_says() -> None:
    assert len(NAMES) + len(WRITTEN) >= 60
    assert why_not_public(PUBLIC) == why_not_public(PUBLIC_6) == ""
