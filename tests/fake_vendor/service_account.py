"""A service account of Google Cloud that opens nothing: a key made on the spot, and a token endpoint of our own."""

from __future__ import annotations

PROJECT = "fake-project"
LOCATION = "europe-west4"
TOKEN_PATH = "/oauth2/token"
TOKEN = "ya29.not-a-token"


def service_account(token_uri: str) -> dict[str, str]:
    """Return the contents of a service account's key file; google-auth signs with it and asks that address."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "fake",
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "client_email": f"tester@{PROJECT}.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": token_uri,
    }
