"""Signatures of seals with the researcher's own key: Ed25519, over the very bytes of the seal's file.

Whoever has the public key can check one without us: the seal's bytes, the signature (base64) and the key (PEM) are all
that ``openssl pkeyutl -verify -rawin`` needs.
"""

from __future__ import annotations

import base64
from hashlib import sha256
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
    load_ssh_private_key,
    load_ssh_public_key,
)
from pydantic import BaseModel, ConfigDict, ValidationError

MAKE_ONE = "make one with: openssl genpkey -algorithm ed25519 -out signing.pem"
OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----"


class KeyUnusable(ValueError):
    """A key file that cannot be used; the message names the file and says what to do, and holds nothing of the key."""


class SignatureDamaged(ValueError):
    """A signature's file that is not as it was written."""


class Signature(BaseModel):
    """A signature as it lies beside its seal: ``system_state/seal_<version>.sig.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    algorithm: Literal["Ed25519"] = "Ed25519"
    public_key: str  # PEM
    signed_file: str
    signed_sha256: str
    signature: str  # base64, of the file's bytes

    @property
    def key(self) -> Ed25519PublicKey:
        return _public_key(self.public_key.encode())


def read_private_key(path: Path, store: Path | None = None) -> Ed25519PrivateKey:
    """Return the private key of a file in PEM or OpenSSH form. Raise KeyUnusable, also for one inside the ``store``."""
    if store is not None and path.expanduser().resolve().is_relative_to(store.resolve()):
        raise KeyUnusable(f"the signing key '{path}' lies in the projects folder, which is shared; keep it elsewhere")
    data = _read(path, "signing key")
    try:
        load = load_ssh_private_key if data.lstrip().startswith(OPENSSH) else load_pem_private_key
        key = load(data, password=None)
    except TypeError:
        raise KeyUnusable(
            f"the signing key '{path}' has a passphrase, which nobody is there to type when a session ends; {MAKE_ONE}"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyUnusable(f"'{path}' is no private key in PEM or OpenSSH form; {MAKE_ONE}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable(f"the signing key '{path}' is no Ed25519 key; {MAKE_ONE}")
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Return the public key of a file in PEM or OpenSSH (``ssh-ed25519 …``) form. Raise KeyUnusable."""
    try:
        return _public_key(_read(path, "public key"))
    except (ValueError, UnsupportedAlgorithm):
        raise KeyUnusable(
            f"'{path}' is no public Ed25519 key; write one with: openssl pkey -in signing.pem -pubout"
        ) from None


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return the key's name for people, as ``ssh-keygen -l`` shows it: ``SHA256:…``."""
    blob = base64.b64decode(key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1])
    return f"SHA256:{base64.b64encode(sha256(blob).digest()).decode().rstrip('=')}"


def sign(key: Ed25519PrivateKey, name: str, data: bytes) -> bytes:
    """Return the signature's file for a seal of that name and those bytes."""
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return _as_written(
        Signature(
            public_key=public,
            signed_file=name,
            signed_sha256=sha256(data).hexdigest(),
            signature=base64.b64encode(key.sign(data)).decode(),
        )
    )


def read_signature(data: bytes) -> Signature:
    """Return the signature of a file that is, to the byte, as we write it. Raise SignatureDamaged."""
    try:
        signature = Signature.model_validate_json(data)
        written_anew = base64.b64encode(base64.b64decode(signature.signature, validate=True)).decode()
        key = signature.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    except (ValidationError, ValueError, UnsupportedAlgorithm) as error:
        raise SignatureDamaged("it cannot be read as a signature") from error
    if (written_anew, key, _as_written(signature)) != (signature.signature, signature.public_key, data):
        raise SignatureDamaged("it is not as it was written")
    return signature


def holds(signature: Signature, data: bytes) -> bool:
    """Return whether the signature is of these bytes, by the key that it names."""
    try:
        signature.key.verify(base64.b64decode(signature.signature), data)
    except InvalidSignature:
        return False
    return signature.signed_sha256 == sha256(data).hexdigest()


def _public_key(data: bytes) -> Ed25519PublicKey:
    load = load_ssh_public_key if data.lstrip().startswith(b"ssh-") else load_pem_public_key
    key = load(data)
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("no Ed25519 key")
    return key


def _read(path: Path, what: str) -> bytes:
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        raise KeyUnusable(f"the {what} '{path}' cannot be read: {error.strerror}; correct its path") from None


def _as_written(signature: Signature) -> bytes:
    return signature.model_dump_json(indent=1).encode() + b"\n"
