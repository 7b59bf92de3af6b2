"""Make a key for a user of the proxy: ``python new_key.py``. Nothing keeps the key but whoever reads it here."""

import secrets
import sys
from hashlib import sha256

key = f"sk-{secrets.token_urlsafe(32)}"
sys.stdout.write(f"the user's LITELLM_PROXY_API_KEY, shown only here: {key}\n")
sys.stdout.write(f"key_sha256 in users.yaml:                           {sha256(key.encode()).hexdigest()}\n")
