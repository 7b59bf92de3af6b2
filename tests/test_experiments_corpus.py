"""Reading a corpus: every text with its id, hash and metadata, and every mistake with its file and line."""

import os
from pathlib import Path

import pytest

from discernus.experiments.corpus import Corpus
from discernus.experiments.corpus_folder import read_corpus
from discernus.experiments.problems import Problem

TEXTS = {"one.txt": "Thunder over the bay.\n", "two.md": "Still water.\n"}


def corpus_in(tmp_path: Path, files: dict[str, bytes | str], table: str | bytes | None = None) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    if table is not None:
        (tmp_path / "corpus.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    return folder


def read(
    tmp_path: Path, files: dict[str, bytes | str], table: str | bytes | None = None
) -> tuple[Corpus, list[Problem]]:
    folder = corpus_in(tmp_path, files, table)
    corpus, problems = read_corpus(folder, tmp_path / "corpus.csv" if table is not None else None)
    return corpus, list(problems)


def test_texts_are_read_in_the_order_of_their_names_with_their_metadata(tmp_path: Path) -> None:
    table = "file,id,language,mood\ntwo.md,calm-02,en,\none.txt,,de,wild\n"
    corpus, problems = read(tmp_path, dict(TEXTS), table)
    assert problems == []
    assert [(each.id, each.file, each.metadata) for each in corpus.documents] == [
        ("one", "one.txt", {"language": "de", "mood": "wild"}),
        ("calm-02", "two.md", {"language": "en"}),
    ]
    assert corpus.texts == {"one": "Thunder over the bay.\n", "calm-02": "Still water.\n"}
    assert corpus.documents[0].characters == 22
    assert corpus.documents[0].sha256 == "fd7c01343ba37ea242752284a84e6b217de677b334115fa792afe324efb078e9"


def test_a_byte_order_mark_and_a_semicolon_table_are_read(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"one.txt": b"\xef\xbb\xbfThunder"}
    corpus, problems = read(tmp_path, files, b"\xef\xbb\xbffile;id\none.txt;first\n")
    assert problems == []
    assert corpus.texts == {"first": "Thunder"}


@pytest.mark.parametrize(
    ("data", "likely"),
    [
        ("Sturm über der Bucht".encode("latin-1"), "ISO-8859-1"),
        ("“Sturm” über der Bucht".encode("cp1252"), "WINDOWS-1252"),
        ("Буря над заливом".encode("cp1251"), "WINDOWS-1251"),
        ("Буря над заливом".encode("koi8-r"), "KOI8-R"),
        ("Sturm über der Bucht".encode("utf-16"), "UTF-16"),
        ("Sturm over the bay".encode("utf-16-le"), "UTF-16LE"),
        ("Sturm over the bay".encode("utf-32"), "UTF-32"),
    ],
)
def test_another_encoding_is_named_with_the_command_that_converts_it(tmp_path: Path, data: bytes, likely: str) -> None:
    corpus, [problem] = read(tmp_path, {"my text.txt": data})
    assert corpus.documents == ()
    assert (problem.file, problem.severity) == ("corpus/my text.txt", "error")
    assert f"iconv -f {likely} -t UTF-8 'my text.txt'" in problem.cure


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"PK\x03\x04\x00\x00binary", "binary"), (b"", "empty"), (b" \n\t", "empty"), (b"\xef\xbb\xbf", "empty")],
)
def test_a_text_without_text_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    _, [problem] = read(tmp_path, {"one.txt": content})
    assert what in problem.what
    assert problem.severity == "error"


def test_two_files_of_the_same_content_are_both_named(tmp_path: Path) -> None:
    _, [problem] = read(tmp_path, {"one.txt": "same", "two.txt": "same"})
    assert problem.file == "corpus/two.txt"
    assert "'one.txt'" in problem.what


def test_other_files_and_subfolders_are_ignored_with_a_warning_and_hidden_ones_without(tmp_path: Path) -> None:
    folder = corpus_in(tmp_path, {"one.txt": "a", "scan.pdf": "b", ".DS_Store": "c", "corpus.csv": "file\none.txt\n"})
    (folder / "more").mkdir()
    os.mkfifo(folder / "pipe.txt")
    corpus, problems = read_corpus(folder, folder / "corpus.csv")
    assert [document.id for document in corpus.documents] == ["one"]
    assert [(problem.file, problem.severity) for problem in problems] == [
        ("corpus/more", "warning"),
        ("corpus/pipe.txt", "warning"),
        ("corpus/scan.pdf", "warning"),
    ]


def test_links_out_of_the_folder_and_into_nowhere_are_refused(tmp_path: Path) -> None:
    folder = corpus_in(tmp_path, {"one.txt": "a"})
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "out.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "gone.txt").symlink_to(folder / "nothing.txt")
    (folder / "up").symlink_to(tmp_path)
    corpus, problems = read_corpus(folder)
    assert list(corpus.texts.values()) == ["a"]
    assert [(problem.file, problem.severity) for problem in problems] == [
        ("corpus/gone.txt", "error"),
        ("corpus/out.txt", "error"),
        ("corpus/up", "error"),
    ]


def test_a_missing_or_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "no such folder" in read_corpus(tmp_path / "none")[1][0].what
    assert "no text" in read(tmp_path, {})[1][0].what


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_an_unreadable_text_is_named(tmp_path: Path) -> None:
    folder = corpus_in(tmp_path, {"one.txt": "a", "two.txt": "b"})
    (folder / "one.txt").chmod(0)
    [problem] = read_corpus(folder)[1]
    assert problem.file == "corpus/one.txt"


@pytest.mark.parametrize(
    ("table", "line", "what", "cure"),
    [
        ("file,id\none.txt,a\ntwo.md,b\nthree.md,c\n", 4, "'three.md' is listed, but", "take the row out"),
        ("file,id\none.txt,a\ntwo.mdd,b\n", 3, "'two.mdd' is listed, but", "did you mean 'two.md'?"),
        ("file,id\none.txt,a\ntwo.md,a\n", 3, "have the same id 'a'", "another id"),
        ("file,id\none.txt,a/b\ntwo.md,b\n", 2, "the id 'a/b' cannot be used", "another id"),
        ("file,id\none.txt,=1+1\ntwo.md,b\n", 2, "the id '=1+1' cannot be used", "another id"),
        (f"file,id\none.txt,{'a' * 101}\ntwo.md,b\n", 2, "longer than 100", "another id"),
        ("name,id\none.txt,a\n", 1, "no column 'file'", "'file'"),
        ("file,id\none.txt,a\n\ntwo.md,b,surplus\n", 4, "3 cells, the first line has 2", "quotes"),
        ("file,id\none.txt,a\ntwo.md\n", 3, "1 cells, the first line has 2", "add the missing cells"),
        ('file,note\none.txt,"two\nlines"\ntwo.md\n', 4, "1 cells", "add the missing cells"),
        ('file,note\none.txt,"open\ntwo.md,b\n', 2, "cannot be read", "quotes"),
        ("file,mood,mood\none.txt,a,b\n", 1, "'mood' stands here twice", "rename"),
        ("file,,mood\none.txt,a,b\n", 1, "column 2 has no name", "name it"),
        ("file,id\none.txt,a\none.txt,b\ntwo.md,c\n", 3, "listed twice (first: line 2)", "keep one"),
        ("file,id\none.txt,a\n,b\ntwo.md,c\n", 3, "names no file", "fill in"),
        ("", 1, "the table is empty", "file,id"),
    ],
)
def test_a_mistake_in_the_table_is_named_with_its_line(
    tmp_path: Path, table: str, line: int, what: str, cure: str
) -> None:
    _, problems = read(tmp_path, dict(TEXTS), table)
    [problem] = [problem for problem in problems if problem.severity == "error"]
    assert (problem.file, problem.line) == ("corpus.csv", line)
    assert what in problem.what
    assert cure in problem.cure


def test_a_text_that_the_table_does_not_list_is_read_with_a_warning(tmp_path: Path) -> None:
    corpus, [problem] = read(tmp_path, dict(TEXTS), "file,id\none.txt,a\n")
    assert [document.id for document in corpus.documents] == ["a", "two"]
    assert (problem.file, problem.severity) == ("corpus/two.md", "warning")


def test_files_whose_names_give_no_usable_id_are_named(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"a|b.txt": "x", "one.md": "y", "one.txt": "z", "Rede (2) Köln.txt": "w"}
    corpus, problems = read(tmp_path, files)
    assert "Rede (2) Köln" in corpus.texts
    assert [problem.file for problem in problems] == ["corpus/a|b.txt", "corpus/one.txt"]


def test_a_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    _, problems = read(tmp_path, dict(TEXTS), "file,mood\none.txt,stürmisch\n".encode("latin-1"))
    assert problems[0].file == "corpus.csv"
    assert "ISO-8859-1" in problems[0].what
