"""Which URLs webhooks may go to."""

import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from documents.callbacks.addresses import (
    CallbackRefused,
    CallbackUnresolved,
    parse,
    resolve_public,
    system_resolver,
    why_not_public,
)

NOT_PUBLIC = [
    # IPv4: loopback, private, shared, link-local (cloud metadata), documentation, benchmarking, multicast, reserved
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
    "100.127.255.255", "169.254.169.254", "0.0.0.0", "0.1.2.3", "192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1",
    "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    # IPv6 likewise
    "::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1",
    "3fff::1", "100::1", "5f00::1", "2001::1", "2001:2::1", "2001:10::1", "2001:20::1",
    # IPv4 inside IPv6: mapped, compatible, NAT64, 6to4, Teredo
    "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1",
    "2002:7f00:1::1", "2002:808:808::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    # Not an address at all
    "localhost", "",
]  # fmt: skip

PUBLIC = ["8.8.8.8", "1.1.1.1", "93.184.216.34", "99.255.255.255", "2606:4700::1111", "2a00:1450:4001::200e"]

BAD_FORM = [
    "ftp://example.org/", "file:///etc/passwd", "gopher://example.org/", "//example.org/", "example.org", "",
    "http://", "https:///hook", "http://user@example.org/", "http://user:secret@example.org/", "http://@example.org/",
    "http://example.org\\@10.0.0.1/", "http://exa mple.org/", "http://example.org/a b", "http://example.org/\r\nX: y",
    "http://example.org/\x00", "http://[fe80::1%25eth0]/", "http://exam%70le.org/", "http://example.org:0/",
    "http://example.org:22/", "http://example.org:25/", "http://example.org:65536/", "http://example.org:abc/",
    "http://1.2.3/", "http://example.0x7f/", "http://1.2.3.4.5/", "http://08.8.8.8/", "http://256.1.1.1/",
    "http://localhost/", "http://db.localhost/", "http://printer.local/", "http://metadata.google.internal/",
    "http://10.0.0.1/", "http://[fd00:ec2::254]/", "http://169.254.169.254/latest/meta-data/", "http://127.0.0.1./",
    "http://[::1/", "http://[zz]/", "http://example.org/ä", "http://" + "a" * 2100 + ".org/", "HTTP//example.org",
]  # fmt: skip

LOOPBACK_IN_DISGUISE = [
    "http://127.0.0.1/", "http://127.1/", "http://0x7f.1/", "http://0x7f000001/", "http://2130706433/",
    "http://017700000001/", "http://0177.0.0.1/", "http://localhost/", "http://localhost./", "http://[::1]/",
    "http://[::ffff:127.0.0.1]/", "http://[0:0:0:0:0:ffff:7f00:1]/", "http://0/", "http://127.0.0.1:8080/",
    "http://①②⑦.⓪.⓪.①/",
]  # fmt: skip


def always(*addresses: str):
    """A resolver with one answer."""
    return lambda host, port: list(addresses)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_unicast_is_refused(address: str) -> None:
    assert why_not_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_accepted(address: str) -> None:
    assert why_not_public(address) == ""


@given(st.ip_addresses(v=6).filter(lambda ip: not 0x2000 <= int(ip) >> 112 < 0x4000))
def test_no_ipv6_address_outside_global_unicast_is_accepted(ip) -> None:
    assert why_not_public(str(ip))


@given(st.ip_addresses(v=4).filter(lambda ip: ip.is_private or not ip.is_global))
def test_no_special_ipv4_address_is_accepted(ip) -> None:
    assert why_not_public(str(ip))


@pytest.mark.parametrize("url", BAD_FORM)
def test_a_url_of_bad_form_is_refused_before_anything_is_resolved(url: str) -> None:
    with pytest.raises(CallbackRefused):
        parse(url)


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        target = parse("http://" + text)
    except CallbackRefused:
        return
    assert target.host
    assert target.path.startswith("/")


@pytest.mark.parametrize("url", LOOPBACK_IN_DISGUISE)
def test_loopback_is_recognised_however_it_is_written(url: str) -> None:
    # Given a spelling of this machine that the system's resolver understands, or does not
    # When it is resolved as the client does
    # Then nothing comes out that could be connected to
    with pytest.raises((CallbackRefused, CallbackUnresolved)):
        resolve_public(parse(url), allow_private=False, timeout=5, resolver=system_resolver)


def test_one_private_address_among_public_ones_refuses_them_all() -> None:
    target = parse("https://example.org/hook")
    with pytest.raises(CallbackUnresolved) as caught:
        resolve_public(target, allow_private=False, timeout=5, resolver=always("8.8.8.8", "10.0.0.1"))
    assert "10.0.0.1" in caught.value.detail
    assert "WEBHOOK_ALLOW_PRIVATE" in caught.value.detail


def test_whoever_chose_the_url_cannot_tell_a_private_name_from_one_that_does_not_exist() -> None:
    # Given a name of our network, one that nobody has, and one whose server does not answer in time
    def faults(*addresses: str) -> Any:
        with pytest.raises(CallbackUnresolved) as caught:
            resolve_public(
                parse("https://db.corp.example/"), allow_private=False, timeout=0.2, resolver=always(*addresses)
            )
        return caught.value

    private, unknown = faults("10.0.0.1"), faults()
    # Then the faults differ in what staff read only
    assert (private.code, private.message, private.retryable) == (unknown.code, unknown.message, unknown.retryable)
    assert "10.0.0.1" not in private.message
    assert private.detail != unknown.detail


def test_private_addresses_pass_when_they_are_allowed() -> None:
    target = parse("http://example.org:81/", allow_private=True)
    assert resolve_public(target, allow_private=True, timeout=5, resolver=always("10.0.0.1")) == ["10.0.0.1"]


def test_a_name_without_address_is_a_passing_fault() -> None:
    with pytest.raises(CallbackUnresolved) as caught:
        resolve_public(parse("http://example.org/"), allow_private=False, timeout=5, resolver=always())
    assert caught.value.retryable


def test_a_resolver_that_hangs_is_left_behind_in_time() -> None:
    def slow(host: str, port: int) -> Sequence[str]:
        time.sleep(2)
        return ["8.8.8.8"]

    started = time.monotonic()
    with pytest.raises(CallbackUnresolved) as caught:
        resolve_public(parse("http://example.org/"), allow_private=False, timeout=0.1, resolver=slow)
    assert "in time" in caught.value.detail
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("https://example.org", "example.org", "/"),
        ("https://Example.ORG:443/a?b=c#d", "example.org", "/a?b=c"),
        ("http://example.org:8080/a", "example.org:8080", "/a"),
        ("http://[2606:4700::1111]:8080/", "[2606:4700::1111]:8080", "/"),
        ("https://bücher.example/", "xn--bcher-kva.example", "/"),
    ],
)
def test_a_good_url_is_taken_apart(url: str, authority: str, path: str) -> None:
    target = parse(url)
    assert (target.authority, target.path) == (authority, path)
