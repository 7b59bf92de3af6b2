"""The last look at a package: words of the texts are found in every disguise, and what holds them stays at home."""

from __future__ import annotations

import base64
import codecs
import gzip
import html
import json
import quopri
import struct
import unicodedata
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import quote as percent

import pytest

from discernus.packages.disguises import Opaque
from discernus.packages.exporting import Wanted, export
from discernus.packages.passages import LEAST, MARK, letters_of
from discernus.packages.proof import Proof
from discernus.packages.reproduction import reproduce
from discernus.packages.subject import Author
from discernus.packages.withholding import CannotWithhold
from discernus.sessions import layout
from discernus.sessions.integrity.seals import versions_sealed
from discernus.sessions.integrity.verification import verify
from discernus.sessions.layout import Call
from discernus.sessions.session import Session
from discernus.stages.calculation import calculate
from discernus.stages.checkpoints import go_back
from discernus.stages.sealing import seal
from discernus.stages.synthesis import synthesise
from tests import sealed_sessions
from tests.stand_ins import scores
from tests.test_package_withholding import copied, sentences, session_with

TEXT = "Neighbours, we have no time to lose. “Señora Núñez’s charter” said what each of us owes the others, & why."
QUOTE = "“Señora Núñez’s charter” said what each of us owes the others, & why"
PIXELS = struct.pack(">I", 13) + b"IHDR" + bytes(13) + bytes(4)
END = struct.pack(">I", 0) + b"IEND" + bytes(4)


def picture(*more: tuple[bytes, bytes], after: bytes = b"") -> bytes:
    chunks = b"".join(struct.pack(">I", len(data)) + kind + data + bytes(4) for kind, data in more)
    return b"\x89PNG\r\n\x1a\n" + PIXELS + chunks + END + after


def wrapped(said: bytes, width: int = 60) -> str:
    return "\n".join(said.decode()[start : start + width] for start in range(0, len(said), width))


def words(said: str) -> list[str]:
    return said.split()


IN_BASE64 = base64.b64encode(QUOTE.encode())
DISGUISED: dict[str, str | bytes] = {
    "as it is": QUOTE,
    "upper case": QUOTE.upper(),
    "taken apart letters": unicodedata.normalize("NFD", QUOTE),
    "soft hyphens": QUOTE.replace("a", "a\u00ad"),
    "hyphens at the ends of lines": QUOTE.replace("charter", "char-\nter").replace("others", "oth-\n   ers"),
    "wide letters": "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in QUOTE),
    "a name in JSON": json.dumps({QUOTE: 1}),
    "a value said twice": f'{{"a": {json.dumps(QUOTE)}, "a": "b"}}',
    "JSON in JSON in JSON": json.dumps(json.dumps(json.dumps({"body": QUOTE}))),
    "a word for each value": json.dumps([{"word": word, "at": 0.1 + at} for at, word in enumerate(words(QUOTE))]),
    "pieces that were streamed": "".join(f'data: {{"delta": {json.dumps(word)}}}\n' for word in words(QUOTE)),
    "percent": percent(QUOTE),
    "percent twice": percent(percent(QUOTE)),
    "quoted-printable": quopri.encodestring(QUOTE.encode()),
    "entities": html.escape(QUOTE).encode("ascii", "xmlcharrefreplace"),
    "entities twice": html.escape(QUOTE.encode("ascii", "xmlcharrefreplace").decode()),
    "bytes of Python": repr(QUOTE.encode()),
    "tags around words": "".join(f"<b>{word}</b> " for word in words(QUOTE)),
    "tags escaped": "".join(f"\\u003cb\\u003e{word}\\u003c/b\\u003e " for word in words(QUOTE)),
    "base64": IN_BASE64,
    "base64 behind other signs": b"image/x" + IN_BASE64,
    "base64 in lines": wrapped(IN_BASE64),
    "base64 in lines in JSON": json.dumps({"body": wrapped(IN_BASE64)}),
    "base64 for URLs": base64.urlsafe_b64encode(QUOTE.encode()),
    "base64 of wide characters": base64.b64encode(QUOTE.encode("utf-16-le")),
    "base64 of base64": base64.b64encode(IN_BASE64),
    "base64 of packed JSON": base64.b64encode(zlib.compress(json.dumps({"a": QUOTE}).encode())),
    "hexadecimal": QUOTE.encode().hex(),
    "packed": gzip.compress(QUOTE.encode()),
    "packed twice": gzip.compress(gzip.compress(QUOTE.encode())),
    "beside the pixels": picture((b"tEXt", b"Title\0" + TEXT.partition(" “")[0].encode())),
}


@pytest.fixture
def proof() -> Proof:
    return Proof([TEXT])


@pytest.mark.parametrize("disguise", DISGUISED)
def test_words_of_a_text_are_found_in_every_disguise(proof: Proof, disguise: str) -> None:
    said = DISGUISED[disguise]
    assert proof.holds(said.encode() if isinstance(said, str) else said)


OPAQUE = {
    "packed without a name": zlib.compress(QUOTE.encode()),
    "wide characters": QUOTE.encode("utf-16"),
    "another encoding": QUOTE.encode("latin-1", "replace"),
    "packed and torn": gzip.compress(QUOTE.encode())[:-6],
    "packed in an unknown way": gzip.compress(zlib.compress(QUOTE.encode())),
    "a picture with packed words": picture((b"zTXt", b"Title\0\0" + zlib.compress(QUOTE.encode()))),
    "a picture that goes on": picture(after=QUOTE.encode()),
    "a picture that is torn": picture()[:-3],
}
CLEAN = {
    "prose": b"The speech reminds its hearers of what a charter asks of everybody; 100% of them, a=b.",
    "a record": json.dumps({"sha256": "ab" * 32, "score": 0.4, "words": ["charter", "owes", "others"]}).encode(),
    "a packed log": gzip.compress(b'{"event": "asked"}\n' * 50),
    "a figure": picture((b"tEXt", b"Software\0a plotter")),
    "a torn line": "a line that was cut off in a letter: é".encode()[:-1],
}


@pytest.mark.parametrize("kind", OPAQUE)
def test_what_cannot_be_searched_is_never_called_clean(proof: Proof, kind: str) -> None:
    with pytest.raises(Opaque):
        proof.holds(OPAQUE[kind])


@pytest.mark.parametrize("kind", CLEAN)
def test_what_says_nothing_of_a_text_is_clean(proof: Proof, kind: str) -> None:
    assert not proof.holds(CLEAN[kind])


def test_what_the_author_made_public_is_clean_in_every_disguise() -> None:
    proof = Proof([TEXT], public=[f"<p>{html.escape(QUOTE)}</p>"])
    for disguise in ("as it is", "percent", "base64", "entities twice"):
        said = DISGUISED[disguise]
        assert not proof.holds(said.encode() if isinstance(said, str) else said)


def test_a_file_that_is_not_clean_is_named_and_so_is_one_whose_name_is_not(proof: Proof, tmp_path: Path) -> None:
    (tmp_path / "clean.md").write_text("Nothing.")
    assert proof.fault_in(tmp_path) is None
    (tmp_path / "page.md").write_bytes(IN_BASE64)
    assert "'page.md' would still hold words" in (proof.fault_in(tmp_path) or "")
    assert proof.fault_in(tmp_path, but=("page.md",)) is None
    (tmp_path / "page.md").rename(tmp_path / "we_have_no_time_to_lose_senora_nunez.md")
    assert "the name of 'we_have" in (proof.fault_in(tmp_path) or "")


# sessions that hold them


def pieces_of(session: Session) -> set[str]:
    """Return every run of LEAST letters of the texts that the author says nowhere else."""
    definition = session.definition
    public = letters_of(definition.framework.text) + "|" + letters_of(definition.experiment.text)
    runs = {
        letters[start : start + LEAST]
        for letters in map(letters_of, definition.texts.values())
        for start in range(len(letters) - LEAST + 1)
    }
    return {run for run in runs if run not in public}


def said_by(data: bytes) -> str:
    """Return what a file says, as it is and decoded by the plain means of the standard library."""
    data = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    said = data.decode("utf-8", "replace")
    return "|".join(
        map(letters_of, (said, html.unescape(said), codecs.decode(said.replace("\\", "\\\\"), "unicode_escape")))
    )


def leaks(folder: Path, pieces: set[str]) -> list[str]:
    """Return the files below a folder that hold one of the pieces."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".zip":
            said = said_by(path.read_bytes())
            if any(said[start : start + LEAST] in pieces for start in range(len(said) - LEAST + 1)):
                found.append(path.relative_to(folder).as_posix())
    return found


async def test_a_session_that_went_back_and_was_sealed_twice_leaks_nothing_verifies_and_reproduces(
    tmp_path: Path,
) -> None:
    def quoting(request: Any) -> str:
        body = request.messages[-1].content.split("BEGIN TEXT\n")[1].replace("\n", " ")
        quotes = [one.strip() for one in body.split(".") if len(one) > 40]
        return json.dumps({**json.loads(scores(0.4)), "urgency_evidence": quotes[:2], "reasoning": quotes[2]})

    session = await session_with(tmp_path, quoting, quoting)
    go_back(session, "calculation")
    session = Session(session.folder)
    calculate(session)
    synthesise(session)
    seal(session)
    assert versions_sealed(session.store) == [1, 2]
    pieces = pieces_of(session)
    assert len(leaks(session.folder, pieces)) > 6
    made = export(Session(session.folder), Wanted(tmp_path / "out", without_texts=True))
    assert leaks(tmp_path / "out", pieces) == []
    assert verify(made.package).intact
    assert reproduce(made.package).agrees


def test_a_session_with_a_file_of_every_kind_leaks_nothing_and_verifies(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    session = sealed_sessions.sealed(tmp_path / "made")
    made = export(session, Wanted(tmp_path / "out", without_texts=True))
    assert leaks(tmp_path / "out", pieces_of(session)) == []
    assert verify(made.package).intact


async def left_of(tmp_path: Path, name: str, made_of: Any) -> bytes | None:
    """Return what a copy without the texts keeps of a file that was made of a sentence of one; None: it went."""
    session = await session_with(tmp_path, scores(), scores(), sealed=False)
    session.store.put(name, made_of(max(sentences(session), key=len)))
    calculate(session)
    synthesise(session)
    seal(session)
    copy, redaction = copied(session, tmp_path)
    assert name in {one.name for one in redaction.files}
    return copy.store.get(name) if copy.store.exists(name) else None


async def test_a_sentence_that_is_the_name_of_a_field_goes(tmp_path: Path) -> None:
    left = await left_of(tmp_path, Call(1).error(9), lambda quote: json.dumps({"body": {quote: 1, "code": 7}}).encode())
    assert left is not None
    assert json.loads(left)["body"] == {MARK: 1, "code": 7}


async def test_a_value_that_hides_words_goes_whole_and_what_stands_beside_it_stays(tmp_path: Path) -> None:
    def error(quote: str) -> bytes:
        return json.dumps({"url": f"https://x.org/?q={percent(quote)}", "class": "server_error"}).encode()

    left = await left_of(tmp_path, Call(1).error(9), error)
    assert left is not None
    assert json.loads(left) == {"url": MARK, "class": "server_error"}


UNSEARCHABLE = {
    "deliverables/figure.bin": lambda quote: zlib.compress(quote.encode()),
    "fault_recovery/torn/wide": lambda quote: quote.encode("utf-16"),
    "logs/torn.jsonl.gz": lambda quote: gzip.compress(quote.encode() * 9)[:-6],
}


@pytest.mark.parametrize("name", UNSEARCHABLE)
async def test_what_cannot_be_searched_goes_and_is_on_record(tmp_path: Path, name: str) -> None:
    assert await left_of(tmp_path, name, UNSEARCHABLE[name]) is None


async def test_lines_that_hide_words_go_and_the_others_stay(tmp_path: Path) -> None:
    def lines(quote: str) -> bytes:
        return b"one\n" + base64.b64encode(quote.encode()) + b"\nthree\n"

    assert await left_of(tmp_path, "fault_recovery/torn/lines", lines) == f"one\n{MARK}\nthree\n".encode()


async def test_short_evidence_goes_from_scores_that_were_superseded(tmp_path: Path) -> None:
    given = json.dumps({**json.loads(scores(0.4)), "urgency_evidence": ["we must"]})
    session = await session_with(tmp_path, given, scores(), sealed=False)
    earlier = layout.superseded(1, layout.extracted(1))
    session.store.put(earlier, session.store.get(layout.extracted(1)))
    calculate(session)
    synthesise(session)
    seal(session)
    copy, _ = copied(session, tmp_path)
    assert b"we must" in session.store.get(earlier)
    assert b"we must" not in copy.store.get(earlier)


async def test_an_answer_that_hides_words_goes_whole_and_its_scores_stand(tmp_path: Path) -> None:
    quote = max(sentences(await session_with(tmp_path / "look", scores(), scores())), key=len)
    hidden = json.dumps({**json.loads(scores(0.4)), "notes": base64.b64encode(quote.encode()).decode()})
    session = await session_with(tmp_path, hidden, scores())
    copy, redaction = copied(session, tmp_path)
    assert redaction.unreadable == ("response_001.txt",)
    assert copy.store.get(Call(1).response) == f"{MARK}\n".encode()
    was, is_now = session.extracted(1), copy.extracted(1)
    assert was is not None
    assert is_now is not None
    assert is_now.extraction.scores == was.extraction.scores


async def test_words_that_only_strings_in_a_row_say_go_and_the_list_stays(tmp_path: Path) -> None:
    def halves(quote: str) -> bytes:
        part = LEAST // 2 + 4
        return json.dumps({"said": [quote[:part], quote[part : 2 * part]], "code": 7}).encode()

    left = await left_of(tmp_path, Call(1).error(9), halves)
    assert left is not None
    assert json.loads(left) == {"said": [MARK, MARK], "code": 7}


async def test_words_that_nothing_can_take_out_refuse_the_copy_by_the_name_of_the_file(tmp_path: Path) -> None:
    def a_word_each(quote: str) -> bytes:
        return json.dumps({"tokens": [{"token": word} for word in words(quote)]}).encode()

    with pytest.raises(CannotWithhold, match=r"error_001_try9\.json' would still hold .* by hand"):
        await left_of(tmp_path, Call(1).error(9), a_word_each)
    assert not list((tmp_path / "copies").rglob("*.json"))


async def test_pages_that_are_written_for_the_package_are_held_to_the_same(tmp_path: Path) -> None:
    session = await session_with(tmp_path, scores(), scores())
    author = Author(name=max(sentences(session), key=len))
    with pytest.raises(CannotWithhold, match="so no package was made"):
        export(session, Wanted(tmp_path / "out", without_texts=True, authors=(author,)))
    assert list((tmp_path / "out").iterdir()) == []
