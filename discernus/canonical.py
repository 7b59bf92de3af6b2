"""One way to turn data into bytes, so that equal data has equal hashes on every machine, and one to read them."""

import json
from typing import Any, NoReturn


def canonical_json(data: Any) -> bytes:
    """Return UTF-8 JSON with sorted keys, no white space and no NaN, for hashing. ValueError where there is no such."""
    try:
        text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return text.encode()


def read_json(data: bytes) -> Any:
    """Return what JSON says. ValueError for all that is none, also for NaN and for what is nested too deeply."""
    try:
        return json.loads(data, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")
