"""Texts that are kept encrypted: Fernet (https://github.com/fernet/spec: AES-128-CBC and HMAC-SHA256) under a key of
the settings."""

import base64
import hashlib
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from app.errors import SigningNotConfigured


def seal(keys: Sequence[str], text: str) -> str:
    """The text, encrypted under the first of the keys. Raises SigningNotConfigured without one."""
    return _fernet(keys).encrypt(text.encode()).decode()


def unseal(keys: Sequence[str], sealed: str) -> str:
    """The text that any of the keys sealed. Raises SigningNotConfigured when none did."""
    try:
        return _fernet(keys).decrypt(sealed).decode()
    except InvalidToken:
        raise SigningNotConfigured("A signing secret is encrypted under a key that is not set.") from None


def _fernet(keys: Sequence[str]) -> MultiFernet:
    """A key of the settings is any long text; Fernet's own keys are 32 bytes."""
    if not keys:
        raise SigningNotConfigured("ML_KEY_ENCRYPTION_KEYS is not set.")
    digests = (hashlib.sha256(key.encode()).digest() for key in keys)
    return MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])
