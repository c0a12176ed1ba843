"""Signing what goes straight into the inbox; of the producers the only file with cryptography."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.inbox import signed_bytes

PATTERN = re.compile(r"fbs_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Signer:
    """A producer's key: `fbs_`, the id it is registered under, and the 32 bytes that are secret."""

    key_id: str
    private: Ed25519PrivateKey

    @classmethod
    def of(cls, text: str) -> Self:
        """Raises ValueError, which never quotes the key."""
        parts = PATTERN.fullmatch(text)
        if parts is None:
            raise ValueError("a signing key reads like fbs_…_…, as it was printed when it was made")
        seed = urlsafe_b64decode(parts[2] + "=")
        return cls(parts[1], Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def generate(cls, key_id: str) -> Self:
        return cls(key_id, Ed25519PrivateKey.generate())

    def sign(self, partition: int, body: bytes) -> bytes:
        return self.private.sign(signed_bytes(partition, body))

    @property
    def public_key(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    def text(self) -> str:
        """The secret: for FIXBILL_SIGNING_KEY."""
        seed = urlsafe_b64encode(self.private.private_bytes_raw()).rstrip(b"=")
        return f"fbs_{self.key_id}_{seed.decode()}"
