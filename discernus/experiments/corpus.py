"""What a corpus is: a folder of texts, and what corpus.csv beside them says about each."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """One text: its id (from corpus.csv, else the file's stem), its hash, and the metadata that groups it.

    ``file`` is relative to the corpus folder, ``sha256`` of its bytes, ``characters`` of the decoded text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    file: str
    sha256: str
    characters: int
    metadata: dict[str, str] = {}


@dataclass(frozen=True)
class Corpus:
    """The documents in the order of their file names, and their decoded texts by document id."""

    documents: tuple[Document, ...]
    texts: dict[str, str]
