"""Which URLs a webhook may go to: decided from the URL's form first, then from every address its name resolves to.

An allow-list of what is public, not a deny-list of what is private: unknown and future ranges stay closed.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from documents.exceptions import DocumentError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Sequence[str]]
"""(host, port) -> addresses as text. Raises OSError when there are none."""

MAX_URL_CHARACTERS = 2048
_DEFAULT_PORTS = {"http": 80, "https": 443}
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""All that IANA has given out (https://www.iana.org/assignments/ipv6-address-space).

NAT64 and IPv4-mapped addresses lie outside.
"""

_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        # Special ranges that `is_global` of some Python version from 3.11 to 3.14 lets pass, and addresses that
        # carry an IPv4 address inside, which a gateway would unpack.
        "2001::/23",  # IETF protocol assignments: Teredo, ORCHID, benchmarking
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
        "100.64.0.0/10",  # shared by carriers
        "192.0.0.0/24",  # IETF protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "198.18.0.0/15",  # benchmarking
        "240.0.0.0/4",  # reserved
    )
)


_LOCAL_NAMES = (".localhost", ".localdomain", ".local", ".internal", ".home.arpa")
"""RFC 6761, RFC 6762, RFC 8375, and what ICANN has set apart for private use."""
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_LOOKS_LIKE_A_NUMBER = re.compile(r"(^|\.)([0-9]+|0[xX][0-9a-fA-F]*)\.?$")
"""A host that ends so is an IPv4 address to browsers and to some resolvers (https://url.spec.whatwg.org)."""
_ALLOW = "Set WEBHOOK_ALLOW_PRIVATE=true to allow it."


class CallbackRefused(DocumentError):
    """Webhooks are not sent to this address."""

    code = "callback_refused"


class CallbackUnresolved(DocumentError):
    """The host name of the callback URL has no address that webhooks may go to.

    Whether it has none at all, or a private one, is not told to who chose the URL: else the names of a network could be
    tried out from outside. It is the same fault in every respect, and `detail` says for staff which it was.
    """

    code = "callback_unresolved"
    retryable = True

    def __init__(self, host: str, *, detail: str) -> None:
        super().__init__(f"The host name {host} has no address that webhooks may go to.")
        self.detail = detail


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a callback URL points, taken apart. `host` is ASCII; `path` begins with a slash and holds the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse(url: str, *, allow_private: bool = False) -> Target:
    """Take a callback URL apart. Raises CallbackRefused when its form is not acceptable, whatever it resolves to.

    Ports below 1024 other than 80 and 443 belong to other protocols, and are open only with `allow_private`.
    """
    if len(url) > MAX_URL_CHARACTERS:
        raise CallbackRefused(f"The callback URL is longer than {MAX_URL_CHARACTERS} characters.")
    if any(character <= " " or character in "\\\x7f" for character in url):
        raise CallbackRefused("The callback URL holds a blank, a control character or a backslash.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise CallbackRefused("The callback URL cannot be read.") from error
    if parts.scheme not in _DEFAULT_PORTS:
        raise CallbackRefused("The callback URL must begin with https:// or http://.")
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise CallbackRefused("The callback URL must not hold a user name or password.")
    if "%" in parts.netloc:
        raise CallbackRefused("The callback URL's host must not hold a percent sign or an IPv6 zone.")
    port = _DEFAULT_PORTS[parts.scheme] if port is None else port
    if port == 0 or (port < 1024 and port not in _DEFAULT_PORTS.values() and not allow_private):
        raise CallbackRefused("The callback URL's port must be 80, 443, or 1024 and above.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii():
        raise CallbackRefused("The callback URL's path must be percent-encoded.")
    host = _ascii(host)
    if not allow_private:
        _require_outside(host)
    return Target(scheme=parts.scheme, host=host, port=port, path=path)


def _ascii(host: str) -> str:
    if not host:
        raise CallbackRefused("The callback URL has no host.")
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError as error:
            raise CallbackRefused("The callback URL's host is not a valid name.") from error
    if not _is_address(host) and (_LOOKS_LIKE_A_NUMBER.search(host) or not _NAME.fullmatch(host)):
        raise CallbackRefused("The callback URL's host is neither a name nor an address as it is usually written.")
    return host


def _require_outside(host: str) -> None:
    """Refuse what is not public whatever anybody's name server says: nothing is learnt from that."""
    if _is_address(host):
        if reason := why_not_public(host):
            raise CallbackRefused(f"Webhooks go to public addresses only, and {host} is {reason}. {_ALLOW}")
    elif f".{host.removesuffix('.')}".endswith(_LOCAL_NAMES):
        raise CallbackRefused(f"Webhooks go to public addresses only, and {host} is a local name. {_ALLOW}")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def resolve_public(target: Target, *, allow_private: bool, timeout: float, resolver: Resolver) -> list[str]:
    """Resolve the target once, and return its addresses if every one of them is public.

    One address that is not public refuses them all: which of them is used would be the name server's choice.
    Raises CallbackUnresolved, also after `timeout` seconds.
    """
    found = _resolved_within(timeout, target, resolver)
    if not found:
        raise CallbackUnresolved(target.host, detail="It has no address.")
    if not allow_private:
        for address in found:
            if reason := why_not_public(address):
                raise CallbackUnresolved(target.host, detail=f"It resolves to {address}, which is {reason}. {_ALLOW}")
    return found


def why_not_public(address: str) -> str:
    """Why this is not a public unicast address, or "" when it is."""
    if "%" in address:
        return "bound to a zone"
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return "not an address"
    if isinstance(ip, ipaddress.IPv6Address) and ip not in _GLOBAL_UNICAST:
        return "an IPv4 address in IPv6 clothes" if ip.ipv4_mapped else "outside global unicast"
    if any(ip in network for network in _NOT_PUBLIC if network.version == ip.version):
        return "in a special range"
    if not ip.is_global or ip.is_multicast or ip.is_reserved or ip.is_unspecified:
        return "private, local or reserved"
    return ""


def system_resolver(host: str, port: int) -> list[str]:
    """The addresses that this machine's resolver gives, without repetition."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _resolved_within(timeout: float, target: Target, resolver: Resolver) -> list[str]:
    """Call the resolver in a thread of its own: getaddrinfo knows no time-out, and may take half a minute."""
    answer: list[str] = []
    failure: list[Exception] = []

    def work() -> None:
        try:
            answer.extend(resolver(target.host, target.port))
        except (OSError, UnicodeError) as error:  # UnicodeError: labels longer than 63 characters
            failure.append(error)

    thread = threading.Thread(target=work, name="callback-resolver", daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        raise CallbackUnresolved(target.host, detail="It could not be resolved in time.")
    if failure:
        raise CallbackUnresolved(target.host, detail="It could not be resolved.") from failure[0]
    return list(answer)
