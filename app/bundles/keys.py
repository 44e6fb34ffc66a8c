"""The keys that sign bundles: Ed25519, from the settings, newest first."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.bundles.layout import SIGNATURE_SIZE, key_id, signature_file, statement

# what SECRET_KEY is asked for here, and nowhere else
PURPOSE = b"loupe: bundle signing key, Ed25519, 1"


@dataclass(frozen=True)
class SigningKey:
    private: Ed25519PrivateKey

    @property
    def public(self) -> str:
        return base64.b64encode(self.private.public_key().public_bytes_raw()).decode()

    @property
    def id(self) -> str:
        return key_id(self.public)

    def sign(self, manifest_sha256: str) -> bytes:
        """The signature file of the manifest with this hash."""
        signature = base64.b64encode(self.private.sign(statement(manifest_sha256))).decode()
        written = signature_file(self.public, manifest_sha256, signature)
        assert len(written) == SIGNATURE_SIZE
        return written


def from_config(config: Mapping[str, Any]) -> tuple[SigningKey, ...]:
    """The first signs. Without `ML_BUNDLE_SIGNING_KEY` it is one that SECRET_KEY always leads to (RFC 5869)."""
    seeds = [base64.b64decode(seed) for seed in config["ML_BUNDLE_SIGNING_KEY"]]
    if not seeds:
        derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE)
        seeds = [derive.derive(config["SECRET_KEY"].encode())]
    return tuple(SigningKey(Ed25519PrivateKey.from_private_bytes(seed)) for seed in seeds)
