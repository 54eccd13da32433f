"""Secrets that the database must hold, encrypted: who reads a dump of it learns none of them.

Fernet (AES-128 in CBC mode with HMAC-SHA-256, from `cryptography`) under keys that HKDF-SHA-256 (RFC 5869) derives
from ENCRYPTION_KEYS and, last, from SECRET_KEY. The first encrypts, every one decrypts. So:

- nothing needs to be set: SECRET_KEY serves;
- a new key is put *before* the old one; `rotate` then moves what is stored, and the old key can go;
- a SECRET_KEY that is to change is written into ENCRYPTION_KEYS first: the same text derives the same key.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from documents.exceptions import DocumentError

PREFIX = "fernet:"
"""Tells what is encrypted from what was stored in the clear, and one scheme from the next."""

_PURPOSE = b"document-ingestion: secrets at rest, version 1"
"""Django signs with SECRET_KEY as well; a key of its own for every purpose keeps the two apart."""


class SecretUnreadable(DocumentError):
    """A stored secret fits none of the keys. Put the key it was encrypted with into ENCRYPTION_KEYS, or save the
    secret again.
    """

    code = "secret_unreadable"
    retryable = True  # with the key back in its place it works, and nobody submits anything again


class SecretBox:
    """Encrypts with the first of `keys`, decrypts with any. Keys are texts of high entropy, of any length."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._fernet = MultiFernet([Fernet(_derived(key)) for key in keys])

    def encrypt(self, text: str) -> str:
        """ASCII text to store: about 4/3 of the UTF-8 bytes, and 107 characters more. Differs at every call."""
        return PREFIX + self._fernet.encrypt(text.encode()).decode()

    def decrypt(self, stored: str) -> str:
        """What was given to `encrypt`. Raises SecretUnreadable."""
        try:
            return self._fernet.decrypt(_token(stored)).decode()
        except InvalidToken:
            raise SecretUnreadable() from None

    def rotate(self, stored: str) -> str:
        """The same secret under the first key. Raises SecretUnreadable."""
        try:
            return PREFIX + self._fernet.rotate(_token(stored)).decode()
        except InvalidToken:
            raise SecretUnreadable() from None


def encrypt(text: str) -> str:
    """Encrypt under this installation's first key; see SecretBox.encrypt."""
    return _box(_keys()).encrypt(text)


def decrypt(stored: str) -> str:
    """Decrypt under any of this installation's keys. Raises SecretUnreadable."""
    return _box(_keys()).decrypt(stored)


def rotate(stored: str) -> str:
    """Encrypt again under this installation's first key. Raises SecretUnreadable."""
    return _box(_keys()).rotate(stored)


def _keys() -> tuple[str, ...]:
    return (*settings.ENCRYPTION_KEYS, settings.SECRET_KEY)


@lru_cache(maxsize=4)
def _box(keys: tuple[str, ...]) -> SecretBox:
    return SecretBox(keys)


def _derived(key: str) -> bytes:
    """A Fernet key. HKDF and not a slow password hash: keys are random texts (environment.py refuses short ones)."""
    return base64.urlsafe_b64encode(HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(key.encode()))


def _token(stored: str) -> bytes:
    if not stored.startswith(PREFIX):
        raise SecretUnreadable("A stored secret is not encrypted, so it is not trusted. Save it again.")
    return stored.removeprefix(PREFIX).encode()
