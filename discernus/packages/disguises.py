"""What bytes say when they are read in every common way: decoded, unpacked, without what parts words.

Vendors and models escape, encode and mark up what they repeat. A search for words has to read it as whoever gets the
file can. What is neither a text nor a plain picture cannot be searched at all, and says so.
"""

from __future__ import annotations

import base64
import gzip
import html
import re
import zlib
from collections.abc import Iterator

from discernus.packages.passages import LEAST

DEEPEST = 4  # one in another: base64 of a gzip of JSON in JSON
LARGEST = 256_000_000  # bytes that a packed file may hold

_PNG = b"\x89PNG\r\n\x1a\n"
# Chunks that hold pixels, colours and sizes, and the one of plain text, which is read.
_PIXELS = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"pHYs", b"tRNS", b"gAMA", b"sRGB", b"cHRM", b"bKGD", b"sBIT", b"tIME"}
_GZIP, _ZLIB = b"\x1f\x8b", (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")

_SURROGATES = re.compile(r"\\+u([dD][89abAB][0-9a-fA-F]{2})\\+u([dD][c-fC-F][0-9a-fA-F]{2})")
_CODE_POINT = re.compile(r"\\+(?:u\{([0-9a-fA-F]{1,5})\}|u([0-9a-fA-F]{4})|U000([0-9a-fA-F]{5}))")
_CONTROL = re.compile(r"\\+[nrtbf]")
_BYTES = re.compile(r"(?:\\+x[0-9a-fA-F]{2})+|(?:%[0-9a-fA-F]{2})+|(?:=[0-9A-F]{2})+")
_SOFT_BREAK = re.compile(r"=\r?\n")
_TAG = re.compile(r"</?[A-Za-z!][^<>]{0,500}>")
_KEY = re.compile(r'\\*"(?:[^"\\]|\\.){0,80}?\\*"\s*:')
_VALUE = re.compile(r"(?<![\w.])(?:-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?=\s*[,\]}])")
_STREAMED = re.compile(r"^(?:data:|(?:event|id|retry):.*$)", re.MULTILINE)  # what server-sent events put before pieces
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/_\-]{16,}={0,2}(?:\s|\\[nr])*)+")
_NO_LETTER = re.compile(r"[\W_]+")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}[\s:]?){24,}")


class Opaque(Exception):
    """Bytes that cannot be searched for words: packed in an unknown way, torn, or of no text."""


def readings(data: bytes) -> Iterator[str]:
    """Yield everything that a file's bytes say, as they stand and in every disguise. Raise Opaque, maybe after some."""
    for text in _texts(data, DEEPEST):
        yield from readings_of(text)


def readings_of(text: str, deep: int = DEEPEST) -> Iterator[str]:
    """Yield a text as it stands, and in every disguise in which it says something else."""
    plain = _unescaped(text)
    if plain == text or _BYTES.search(text) or "=\n" in text:  # else no letter is lost on the way
        yield text
    if plain != text:
        yield plain
    bare = _TAG.sub("", plain)
    if bare != plain:
        yield bare
    if '"' in bare and (said := _VALUE.sub(" ", _KEY.sub(" ", _STREAMED.sub(" ", bare)))) != bare:
        yield said
    if deep:
        for data in dict.fromkeys((*_hidden(text), *(_hidden(plain) if plain != text else ()))):
            yield from _decoded(data, deep - 1)


def _texts(data: bytes, deep: int) -> Iterator[str]:
    if data.startswith(_PNG):
        yield from _said_beside_pixels(data)
    elif data.startswith(_GZIP):
        yield data[:1024].decode("latin-1")  # of gzip, the name of the file and a comment
        yield from _texts(_unpacked(data), deep - 1) if deep else ()
    else:
        yield _decoded_whole(data)


def _decoded_whole(data: bytes) -> str:
    """Return UTF-8, of which a cut may have torn the last character."""
    try:
        text = data.decode()
    except UnicodeDecodeError as torn:
        if torn.start < len(data) - 3:
            raise Opaque("it is neither a text in UTF-8 nor a picture") from torn
        text = data[: torn.start].decode()
    if "\0" in text:
        raise Opaque("it is neither a text in UTF-8 nor a picture")
    return text


def _unpacked(data: bytes) -> bytes:
    try:
        if data.startswith(_GZIP):
            return gzip.decompress(data)
        stream = zlib.decompressobj()
        whole = stream.decompress(data, LARGEST)
    except (OSError, EOFError, zlib.error) as torn:
        raise Opaque("it is packed, and torn or damaged") from torn
    if not stream.eof or stream.unused_data:
        raise Opaque("it is packed, and torn or damaged")
    return whole


def _said_beside_pixels(data: bytes) -> Iterator[str]:
    """Yield the plain texts of a picture; Opaque where it holds packed ones, or goes on behind its end."""
    place = len(_PNG)
    while place < len(data):
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        if kind == b"tEXt":
            yield data[place + 8 : place + 8 + length].decode("latin-1")
        elif kind not in _PIXELS:
            raise Opaque("it is a picture that holds more than pixels")
        place += 12 + length
        if kind == b"IEND" and place == len(data):
            return
    raise Opaque("it is a picture that is torn, or holds more than pixels")


def _unescaped(text: str) -> str:
    """Return the text without escapes of JSON, of bytes, of URLs, of mail and of HTML, one in another too."""
    for _ in range(DEEPEST):
        plain = text
        if "\\" in plain:
            plain = _SURROGATES.sub(_pair, plain)
            plain = _CONTROL.sub(" ", _CODE_POINT.sub(_sign, plain))
        if "=" in plain:
            plain = _SOFT_BREAK.sub("", plain)
        if "%" in plain or "=" in plain or "\\" in plain:
            plain = _BYTES.sub(_from_bytes, plain)
        if "&" in plain:
            plain = html.unescape(plain)
        if plain == text:
            break
        text = plain
    return text


def _pair(found: re.Match[str]) -> str:
    high, low = int(found[1], 16), int(found[2], 16)
    return chr(0x10000 + ((high - 0xD800) << 10) + low - 0xDC00)


def _sign(found: re.Match[str]) -> str:
    number = int(found[1] or found[2] or found[3], 16)
    return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else " "


def _from_bytes(found: re.Match[str]) -> str:
    return bytes.fromhex(re.sub(r"[\\x%=]", "", found[0])).decode("utf-8", "replace")


def _hidden(text: str) -> Iterator[bytes]:
    """Yield what runs of base64 or hexadecimal digits stand for, wherever in a run the encoded words begin."""
    for found in _BASE64.finditer(text):
        run = re.sub(r"\\[nr]|[\s=]", "", found[0])
        if len(run) >= 32:
            yield from (_from_base64(run[start:]) for start in range(4))
    for found in _HEX.finditer(text):
        digits = re.sub(r"[\s:]", "", found[0])
        yield bytes.fromhex(digits)
        yield bytes.fromhex(digits[1:-1])


def _from_base64(run: str) -> bytes:
    run = run.replace("-", "+").replace("_", "/")
    whole = run[: len(run) // 4 * 4]
    tail = run[len(whole) :]
    return base64.b64decode(whole + (tail + "=" * (4 - len(tail)) if len(tail) > 1 else ""))


def _decoded(data: bytes, deep: int) -> Iterator[str]:
    """Yield what bytes say that stood encoded in a text; most such runs are hashes, and say nothing."""
    if data.startswith((_PNG, _GZIP, *_ZLIB)):
        try:
            for text in _texts(_unpacked(data) if data.startswith(_ZLIB) else data, deep):
                yield from readings_of(text, deep)
        except Opaque:
            pass
    text = data.replace(b"\0", b"").decode("utf-8", "ignore")
    if len(_NO_LETTER.sub("", text)) >= LEAST:
        yield from readings_of(text, deep)
