"""The front matter of experiment.md: where it begins and ends, its settings, and the prose below it."""

import re
from dataclasses import dataclass

from discernus.experiments.problems import ProblemList
from discernus.experiments.yaml_settings import YamlSettings, read_settings

_CLOSING = re.compile(r"^(?:---|\.\.\.)[ \t]*\r?$", re.MULTILINE)
_MAX_CHARACTERS = 1_000_000


@dataclass(frozen=True)
class FrontMatter(YamlSettings):
    """The settings of the front matter, and the prose below it."""

    body: str


def read_front_matter(text: str, problems: ProblemList) -> FrontMatter | None:
    """Return the front matter of a Markdown text, or None after reporting what is wrong with it."""
    if not re.match(r"---[ \t]*\r?\n", text):
        cure = "begin the file with --- on its own line, then the settings, then --- again"
        problems.error(1, "the file has no front matter", cure)
        return None
    start = text.index("\n") + 1
    closing = _CLOSING.search(text, start)
    if closing is None:
        problems.error(1, "the front matter is never closed", "put --- on its own line after the last setting")
        return None
    written = text[start : closing.start()]
    if len(written) > _MAX_CHARACTERS:
        problems.error(1, "the front matter is larger than a million characters", "keep settings here, prose below")
        return None
    settings = read_settings(written, problems, first_line=2)
    if settings is None:
        return None
    if not settings.values:
        problems.error(2, "the front matter has no settings", "write one `key: value` on each line")
        return None
    return FrontMatter(settings.values, settings.lines, text[closing.end() :].lstrip("\r\n"))
