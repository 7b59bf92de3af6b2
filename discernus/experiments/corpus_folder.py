"""Reading a corpus: the .txt and .md files of one folder, with what corpus.csv says about them."""

import stat
import unicodedata
from hashlib import sha256
from pathlib import Path

from discernus.experiments.corpus import Corpus, Document
from discernus.experiments.corpus_table import TABLE_NAME, Row, id_problem, read_table
from discernus.experiments.encoding import NotText, decode
from discernus.experiments.problems import Problem, ProblemList

SUFFIXES = {".txt", ".md"}


def read_corpus(
    folder: Path, metadata_csv: Path | None = None, *, name: str = "corpus", table_name: str = TABLE_NAME
) -> tuple[Corpus, tuple[Problem, ...]]:
    """Return the documents that can be read, in the order of their file names, and every problem found.

    ``name`` and ``table_name`` are how the folder and the table are named in messages.
    """
    problems: list[Problem] = []
    if not folder.is_dir():
        missing = Problem(name, None, "there is no such folder", "create it and put the texts (.txt, .md) into it")
        return Corpus((), {}), (missing,)
    contents: dict[str, bytes] = {}
    present: list[str] = []
    for path in sorted(folder.iterdir(), key=lambda entry: entry.name):
        here = ProblemList(f"{name}/{path.name}")
        if _is_text(path, folder, here):
            present.append(path.name)
            data = _read(path, here)
            if data is not None:
                contents[path.name] = data
        problems += here.found
    rows: dict[str, Row] = {}
    if metadata_csv is not None:
        table = ProblemList(table_name)
        rows = read_table(metadata_csv, present, table)
        problems += table.found
    if not present:
        problems.append(Problem(name, None, "the folder holds no text", "put texts (.txt, .md) into it"))
    corpus = _documents(contents, rows, problems, name, table_name if metadata_csv is not None else None)
    return corpus, tuple(problems)


def _is_text(path: Path, folder: Path, problems: ProblemList) -> bool:
    """Return whether a directory entry is a text of the corpus, and report what is neither that nor hidden."""
    if path.name.startswith(".") or path.name == TABLE_NAME:
        return False
    if path.is_symlink():
        target = path.resolve()
        if not target.exists():
            problems.error(None, "the link leads nowhere", "replace it by the file itself")
            return False
        if not target.is_relative_to(folder.resolve()):
            problems.error(None, "the link leads out of the corpus folder", "replace it by the file itself")
            return False
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        problems.warn(None, "subfolders are not read", "move its texts up into the corpus folder")
        return False
    if not stat.S_ISREG(mode) or path.suffix.lower() not in SUFFIXES:
        problems.warn(None, "it is not a .txt or .md file and is ignored", "convert it to text, or take it out")
        return False
    return True


def _read(path: Path, problems: ProblemList) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError as error:
        problems.error(None, f"the text cannot be read: {error.strerror}", "check its permissions")
        return None


def _documents(
    contents: dict[str, bytes], rows: dict[str, Row], problems: list[Problem], name: str, table_name: str | None
) -> Corpus:
    documents: list[Document] = []
    texts: dict[str, str] = {}
    by_hash: dict[str, str] = {}
    by_id: dict[str, str] = {}
    table = {unicodedata.normalize("NFC", file): row for file, row in rows.items()}
    for file, data in contents.items():
        here = ProblemList(f"{name}/{file}")
        row = table.get(unicodedata.normalize("NFC", file))
        if row is None and table_name is not None:
            cure = f"add a row for it to {table_name} if it belongs to a group"
            here.warn(None, f"the text is not listed in {table_name}; it is read without metadata", cure)
        digest = sha256(data).hexdigest()
        text = _text(data, file, here)
        if text is not None and digest in by_hash:
            here.error(None, f"it has the same content as '{by_hash[digest]}'", "take one of them out")
        by_hash.setdefault(digest, file)
        document_id = row.id if row is not None and row.id else unicodedata.normalize("NFC", Path(file).stem)
        _check_id(document_id, file, row, by_id, ProblemList(table_name or "", here.found), here)
        by_id.setdefault(document_id, file)
        problems += here.found
        if text is not None and document_id not in texts:
            metadata = row.metadata if row is not None else {}
            documents.append(
                Document(id=document_id, file=file, sha256=digest, characters=len(text), metadata=metadata)
            )
            texts[document_id] = text
    return Corpus(tuple(documents), texts)


def _text(data: bytes, file: str, problems: ProblemList) -> str | None:
    try:
        text = decode(data, file)
    except NotText as error:
        problems.error(None, error.what, error.cure)
        return None
    if not text.strip():
        problems.error(None, "the text is empty", "fill it, or take it out")
        return None
    return text


def _check_id(
    document_id: str, file: str, row: Row | None, by_id: dict[str, str], table: ProblemList, here: ProblemList
) -> None:
    """Report an id that is taken or unsafe: in the table where it stands there, else at the file it comes from."""
    given = row is not None and row.id is not None
    problems, line = (table, row.line) if given and row is not None else (here, None)
    unsafe = id_problem(document_id)
    cure = "give it another id" if given else f"rename the file, or give it an id in {TABLE_NAME}"
    if unsafe:
        problems.error(line, f"the id '{document_id}' cannot be used: {unsafe}", cure)
    if document_id in by_id:
        problems.error(line, f"'{file}' and '{by_id[document_id]}' have the same id '{document_id}'", cure)
