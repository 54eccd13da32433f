"""Secrets at rest: readable with every key that is configured, with no other, and never by looking at them."""

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from documents import encryption
from documents.encryption import SecretBox, SecretUnreadable

OLD, NEW, OTHER = "old-" + "o" * 40, "new-" + "n" * 40, "other-" + "x" * 40


@given(st.text())
def test_what_was_encrypted_is_read_again(text: str) -> None:
    box = SecretBox([NEW])
    assert box.decrypt(box.encrypt(text)) == text


def test_what_is_stored_shows_neither_the_secret_nor_that_two_are_equal() -> None:
    box = SecretBox([NEW])
    first, second = box.encrypt("whsec_same"), box.encrypt("whsec_same")
    assert first != second
    assert "whsec" not in first
    assert first.isascii()
    assert len(first) <= 107 + 4 * len("whsec_same") / 3


def test_an_old_key_still_reads_until_everything_is_rotated() -> None:
    # Given a secret under the old key, and a new key before it
    stored = SecretBox([OLD]).encrypt("secret")
    both = SecretBox([NEW, OLD])
    # Then it is read
    assert both.decrypt(stored) == "secret"
    # When it is rotated
    rotated = both.rotate(stored)
    # Then the old key can go
    assert SecretBox([NEW]).decrypt(rotated) == "secret"
    with pytest.raises(SecretUnreadable):
        SecretBox([OLD]).decrypt(rotated)


@pytest.mark.parametrize("act", ["decrypt", "rotate"])
def test_a_key_that_does_not_fit_is_a_clear_error_without_the_secret(act: str) -> None:
    stored = SecretBox([OLD]).encrypt("secret")
    with pytest.raises(SecretUnreadable, match="ENCRYPTION_KEYS") as raised:
        getattr(SecretBox([OTHER]), act)(stored)
    assert stored not in str(raised.value)
    assert raised.value.code == "secret_unreadable"


@pytest.mark.parametrize("stored", ["", "whsec_in_the_clear", "fernet:", "fernet:rubbish", "fernet:ä"])
def test_what_was_never_encrypted_is_refused(stored: str) -> None:
    with pytest.raises(SecretUnreadable):
        SecretBox([NEW]).decrypt(stored)


def test_a_changed_text_is_refused() -> None:
    stored = SecretBox([NEW]).encrypt("secret")
    changed = stored[:-10] + ("A" if stored[-10] != "A" else "B") + stored[-9:]
    with pytest.raises(SecretUnreadable):
        SecretBox([NEW]).decrypt(changed)


def test_without_keys_of_its_own_the_installation_uses_its_secret_key() -> None:
    with override_settings(SECRET_KEY=OLD, ENCRYPTION_KEYS=[]):
        stored = encryption.encrypt("secret")
    # When keys are set later, what was stored before is still read, and rotates to them
    with override_settings(SECRET_KEY=OLD, ENCRYPTION_KEYS=[NEW]):
        assert encryption.decrypt(stored) == "secret"
        rotated = encryption.rotate(stored)
    assert SecretBox([NEW]).decrypt(rotated) == "secret"


def test_a_secret_key_that_is_to_change_moves_to_the_encryption_keys() -> None:
    with override_settings(SECRET_KEY=OLD, ENCRYPTION_KEYS=[]):
        stored = encryption.encrypt("secret")
    with override_settings(SECRET_KEY=NEW, ENCRYPTION_KEYS=[OLD]):
        assert encryption.decrypt(stored) == "secret"
    with override_settings(SECRET_KEY=NEW, ENCRYPTION_KEYS=[]), pytest.raises(SecretUnreadable):
        encryption.decrypt(stored)
