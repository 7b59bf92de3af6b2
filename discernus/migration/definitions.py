"""An experiment's definition in today's form: experiment.md, framework.md, corpus and its table, from the old files.

What the old files say is carried over under today's keys; what has no place there, or cannot be read, is listed.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import yaml

from discernus.experiments.experiment_file import KEYS, parse_experiment
from discernus.experiments.experiment_reading import Overrides
from discernus.experiments.front_matter import read_front_matter
from discernus.experiments.problems import ProblemList
from discernus.migration.found import Found, Place
from discernus.migration.frameworks import Recovered, recover_framework
from discernus.migration.names import document_file
from discernus.migration.planning import Text
from discernus.migration.prompts import told_by
from discernus.migration.reading import FoundExperiment
from discernus.migration.source import Source
from discernus.migration.values import in_json

_TEXTS = (".txt", ".md")
_MANIFESTS = ("manifest.yaml", "manifest.yml", "corpus.yaml")
_HYPOTHESIS = re.compile(r"^\*\*(?P<name>H[\w-]*)\*\*:\s*(?P<text>[^\n]+)", re.MULTILINE)
_SAID = re.compile(r"framework", re.IGNORECASE)


@dataclass
class Translated:
    """A definition for today. ``models`` and ``runs`` are what the old one asked for; ``lost`` could not be translated.

    ``settings`` and ``body`` make up experiment.md; ``sources`` are the files that it was made from, ``framework_file``
    among them.
    """

    settings: dict[str, Any]
    body: str
    framework: Recovered
    corpus: dict[str, Text]
    table: bytes | None
    models: tuple[str, ...]
    runs: int
    lost: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    framework_file: str | None = None

    @property
    def experiment(self) -> bytes:
        """The experiment.md of today."""
        return _written(self.settings, self.body)


def translate(source: Source, experiment: FoundExperiment, found: Found) -> Translated:
    """Return the definition of an experiment as far as the source has it."""
    lost: list[str] = []
    sources = [experiment.file] if experiment.file else []
    values, body = _read(source, experiment, lost)
    corpus, manifest = _corpus(source, experiment, values, found)
    sources += [*(name for name, _ in corpus.values()), *([manifest] if manifest else [])]
    framework_file = _framework_file(source, experiment, values)
    if framework_file is not None:
        sources.append(framework_file)
    elif values.get("framework_file"):
        lost.append(f"the framework '{values['framework_file']}' is not in the source")
    framework = recover_framework(
        source.data(framework_file) if framework_file else None,
        framework_file or "framework.md",
        _instructions(experiment),
        _title(values, body, experiment),
    )
    lost += framework.lost
    models, runs = _models(values), _runs(values)
    if not models:
        lost.append("the models: none is named; name some below `models:` before a run, or give --models")
    texts = {file: text for file, (_, text) in corpus.items()}
    settings, body = _settings(values, body, models, runs, experiment, lost)
    return Translated(
        settings=settings,
        body=body,
        framework=framework,
        corpus=texts,
        table=_table(source, manifest, texts, lost),
        models=models,
        runs=runs,
        lost=lost,
        sources=sources,
        framework_file=framework_file,
    )


def _read(source: Source, experiment: FoundExperiment, lost: list[str]) -> tuple[dict[str, Any], str]:
    """Return what experiment.md sets, and its prose."""
    if experiment.file is None:
        return (
            {},
            f"# {experiment.name}\n\nNo definition of this experiment is in the source; only sessions of it are.\n",
        )
    try:
        text = source.text(experiment.file)
    except UnicodeDecodeError:
        lost.append(f"{experiment.file}: it is not UTF-8")
        return {}, f"# {experiment.name}\n"
    problems = ProblemList(experiment.file)
    matter = read_front_matter(text, problems) if text.startswith("---") else None
    if matter is None:
        lost += [str(problem) for problem in problems.found]
        return {}, text
    return dict(matter.values), matter.body


def _title(values: Mapping[str, Any], body: str, experiment: FoundExperiment) -> str:
    heading = re.search(r"^#\s+(.+?)\s*#*\s*$", body, re.MULTILINE)
    for one in (values.get("title"), heading[1] if heading else None, values.get("name")):
        if isinstance(one, str) and one.strip():
            return one.strip()
    return experiment.name


def _models(values: Mapping[str, Any]) -> tuple[str, ...]:
    written = values.get("models")
    names = (
        [one.get("model") if isinstance(one, Mapping) else one for one in written] if isinstance(written, list) else []
    )
    return tuple(dict.fromkeys(one for one in names if isinstance(one, str) and re.fullmatch(r"\S+", one)))


def _runs(values: Mapping[str, Any]) -> int:
    for key in ("runs_per_model", "num_runs"):
        if isinstance(values.get(key), int) and not isinstance(values[key], bool) and values[key] > 0:
            return int(values[key])
    return 1


def _settings(
    values: dict[str, Any],
    body: str,
    models: Sequence[str],
    runs: int,
    experiment: FoundExperiment,
    lost: list[str],
) -> tuple[dict[str, Any], str]:
    """Return the settings and the prose of today's form; a setting that its reader refuses is left out and listed."""
    hypotheses = values.get("hypotheses") or {match["name"]: match["text"] for match in _HYPOTHESIS.finditer(body)}
    if not hypotheses and isinstance(values.get("hypothesis"), str):
        hypotheses = {"H": values["hypothesis"].strip()}
    elif isinstance(values.get("hypothesis"), str):
        body = f"{body.rstrip()}\n\n## The hypothesis as it was set\n\n{values['hypothesis'].strip()}\n"
    if isinstance(values.get("description"), str):
        body = f"{values['description'].strip()}\n\n{body}"
    matter: dict[str, Any] = {
        "format": 1,
        "title": _title(values, body, experiment),
        "framework_file": "framework.md",
        "corpus": "corpus",
        **({"models": values["models"] if isinstance(values.get("models"), list) else list(models)} if models else {}),
        "runs_per_model": runs,
        **({"hypotheses": hypotheses} if hypotheses else {}),
    }
    ours = {*matter, "hypothesis", "description", "name", "num_runs", "framework_file", "corpus"}
    for key, value in values.items():
        if key in KEYS and key not in ours:
            matter[key] = value
        elif key not in KEYS and key not in ours:
            lost.append(f"'{key}' of experiment.md has no effect today: {in_json(value)}")
    for key in [one for one in matter if one not in ("format", "title", "framework_file", "corpus")]:
        kept = {one: matter[one] for one in ("format", "title", "framework_file", "corpus", key)}
        refused = _refused(kept, body, experiment.name)
        if refused:
            lost.append(f"'{key}' of experiment.md: {refused}")
            del matter[key]
    return matter, body


def _refused(matter: Mapping[str, Any], body: str, name: str) -> str:
    """Return why today's reader refuses a setting, "" where it does not."""
    override = None if "models" in matter else ["offline/lexicon"]
    reading = parse_experiment(_written(matter, body), name, "experiment.md", Overrides(models=override))
    errors = [problem for problem in reading.problems.found if problem.severity == "error"]
    return errors[0].what if errors else ""


def _written(matter: Mapping[str, Any], body: str) -> bytes:
    settings = yaml.safe_dump(dict(matter), sort_keys=False, allow_unicode=True, width=110)
    return f"---\n{settings}---\n\n{body.lstrip()}".encode()


def _framework_file(source: Source, experiment: FoundExperiment, values: Mapping[str, Any]) -> str | None:
    """Return the framework's file: the one that is named, else framework.md, else the only one called so."""
    named = values.get("framework_file")
    folder = f"{experiment.folder}/" if experiment.folder else ""
    wanted = [source.inside(f"{folder}{named}")] if isinstance(named, str) else []
    for name in (*wanted, f"{folder}framework.md", f"{folder}framework_snapshot.md"):
        if name in source.files:
            return name
    called = [
        name
        for name in source.files
        if name.endswith(".md")
        and name.rpartition("/")[0] == experiment.folder
        and _SAID.search(PurePosixPath(name).name)
    ]
    return called[0] if len(called) == 1 else None


def _corpus(
    source: Source, experiment: FoundExperiment, values: Mapping[str, Any], found: Found
) -> tuple[dict[str, tuple[str, Text]], str | None]:
    """Return the texts in the source by today's file name, each with its old name; and the corpus's own table."""
    folder = f"{experiment.folder}/" if experiment.folder else ""
    named = values.get("corpus")
    wanted = source.inside(f"{folder}{named}") if isinstance(named, str) else None
    places = [one.rstrip("/") for one in (wanted, f"{folder}corpus") if one]
    texts: dict[str, tuple[str, Text]] = {}
    manifest = None
    for place in places:
        for name in source.files:
            if not name.startswith(f"{place}/"):
                continue
            below = name.removeprefix(f"{place}/")
            if PurePosixPath(below).name in (*_MANIFESTS, "corpus.csv"):
                manifest = manifest or name
            elif below.lower().endswith(_TEXTS):
                try:
                    text = source.data(name).decode("utf-8-sig")
                except UnicodeDecodeError as error:
                    found.remark(Place(name), "not understood", f"a text that is not UTF-8 ({error.reason})")
                    continue
                if not text.strip():
                    found.remark(Place(name), "not understood", "a text without a word")
                    continue
                known = Text(text, f"the corpus, {name}", proven=True)
                texts.setdefault(document_file(below.replace("/", "--")), (name, known))
                if text.encode() == source.data(name):
                    found.read.add(name)
        if texts:
            break
    return texts, manifest


def _table(source: Source, manifest: str | None, texts: Mapping[str, Text], lost: list[str]) -> bytes | None:
    """Return corpus.csv: the old table as it is, or what a manifest in YAML says of each text."""
    if manifest is None:
        return None
    if manifest.endswith(".csv"):
        return source.data(manifest)
    try:
        said = yaml.safe_load(source.text(manifest))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        lost.append(f"{manifest}: it cannot be read ({type(error).__name__})")
        return None
    listed = said.get("texts") if isinstance(said, Mapping) else None
    if not isinstance(listed, list):
        lost.append(f"{manifest}: it lists no texts")
        return None
    rows = [_row(one) for one in listed if isinstance(one, Mapping) and one.get("filename")]
    rest = sorted(set(said) - {"texts"})
    if rest:
        lost.append(f"{manifest}: of these keys only the file itself is kept: {', '.join(map(str, rest))}")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def _row(entry: Mapping[str, Any]) -> dict[str, str]:
    metadata = entry.get("metadata")
    plain = {
        str(key): str(value)
        for key, value in (metadata.items() if isinstance(metadata, Mapping) else ())
        if isinstance(value, str | int | float) and str(key).lower() not in ("file", "id")
    }
    listed = {"listed_as": str(entry["id"])} if entry.get("id") else {}
    return {"file": document_file(str(entry["filename"])), **listed, **plain}


def _instructions(experiment: FoundExperiment) -> list[str]:
    """Return the words with which texts were put to models, the most frequent first."""
    counted: dict[str, int] = {}
    for session in experiment.sessions:
        for call in session.calls:
            if words := told_by(call.prompt).instructions:
                counted[words] = counted.get(words, 0) + 1
    return sorted(counted, key=lambda words: (-counted[words], words))
