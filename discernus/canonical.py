"""One way to turn data into bytes, so that equal data has equal hashes on every machine."""

import json
from typing import Any


def canonical_json(data: Any) -> bytes:
    """Return UTF-8 JSON with sorted keys, no white space and no NaN (ValueError), for hashing."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
