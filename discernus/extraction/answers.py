"""The answer itself within what a model wrote: without what it thought aloud first, and out of a JSON string."""

import json
import re

_THINKING = r"(?:think|thinking|thought|reasoning|scratchpad)"
_THOUGHT = re.compile(rf".*</{_THINKING}>", re.DOTALL | re.IGNORECASE)  # some models leave out the opening tag
_THINKS_STILL = re.compile(rf"\s*<{_THINKING}>", re.IGNORECASE)


def answer_in(written: str) -> str:
    """Return the part of ``written`` that answers; the empty text where a model was cut off while it thought aloud."""
    thought = _THOUGHT.match(written)
    if thought is not None:
        written = written[thought.end() :]
    elif _THINKS_STILL.match(written):
        return ""
    return _unquoted(written)


def _unquoted(written: str) -> str:
    """Return the text that a JSON string holds, where the answer is one; some logs keep answers that way."""
    whole = written.strip()
    if len(whole) > 1 and whole[0] == whole[-1] == '"':
        try:
            inner = json.loads(whole)
        except ValueError:
            return written
        return inner if isinstance(inner, str) else written
    return written
