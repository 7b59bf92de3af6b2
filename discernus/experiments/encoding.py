"""Text from an author's bytes: UTF-8, or a refusal that says what the bytes probably are and how to convert them."""

import codecs
import shlex

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


class NotText(ValueError):
    """Bytes that are not UTF-8 text; ``what`` says what they are, ``cure`` what to do."""

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(f"{what} → {cure}")
        self.what = what
        self.cure = cure


def decode(data: bytes, file: str) -> str:
    """Return the text of UTF-8 bytes, without a byte order mark. Raise NotText for anything else."""
    encoding = _marked(data)
    if encoding is None:
        if b"\0" in data:
            encoding = _unmarked_utf16(data)
            if encoding is None:
                raise NotText("it is a binary file (it holds NUL bytes)", "replace it by a plain text file")
        else:
            try:
                return data.decode("utf-8-sig")
            except UnicodeDecodeError:
                encoding = _eight_bit(data)
    raise NotText(f"it is not UTF-8; it is likely {encoding}", _conversion(encoding, file))


def _marked(data: bytes) -> str | None:
    return next((encoding for mark, encoding in _BYTE_ORDER_MARKS if data.startswith(mark)), None)


def _unmarked_utf16(data: bytes) -> str | None:
    """Recognise UTF-16 of mostly Latin text: nearly every second byte is NUL, and no other."""
    even, odd = data[0:4000:2], data[1:4000:2]
    if odd.count(0) > 0.7 * len(odd) and not even.count(0):
        return "UTF-16LE"
    if even.count(0) > 0.7 * len(even) and not odd.count(0):
        return "UTF-16BE"
    return None


def _eight_bit(data: bytes) -> str:
    """Guess the 8-bit encoding: Cyrillic where most letters lie above 127, else Western European."""
    high = sum(byte > 127 for byte in data)
    letters = sum(chr(byte).isalpha() for byte in data if byte < 128)
    if high > letters:
        return "KOI8-R" if sum(0xC0 <= byte <= 0xDF for byte in data) > high / 2 else "WINDOWS-1251"
    return "WINDOWS-1252" if any(0x80 <= byte <= 0x9F for byte in data) else "ISO-8859-1"


def _conversion(encoding: str, file: str) -> str:
    source, target = shlex.quote(file), shlex.quote(f"{file}.utf8")
    return f"convert it: iconv -f {encoding} -t UTF-8 {source} > {target} && mv {target} {source}"
