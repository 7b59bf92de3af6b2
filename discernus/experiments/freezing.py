"""Freezing a definition into a session and reading it back: the author's bytes, and a manifest with every hash.

What a session runs on is what was frozen, never the live files; ``differences`` says how the two have parted.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from discernus.canonical import canonical_json
from discernus.experiments.corpus import Document
from discernus.experiments.definition import Definition
from discernus.experiments.encoding import NotText, decode
from discernus.experiments.experiment import DataPolicy, Experiment
from discernus.experiments.framework import PROMPT_FORM, Framework
from discernus.experiments.framework_file import parse_framework
from discernus.experiments.location import EXPERIMENT_FILE
from discernus.experiments.problems import InvalidDefinition, Problem

EXPERIMENT_SNAPSHOT = "experiment_snapshot.md"
FRAMEWORK_SNAPSHOT = "framework_snapshot.md"
MANIFEST = "corpus_manifest.json"
MANIFEST_FORMAT = 1


class SnapshotDamaged(Exception):
    """A frozen file that is missing or no longer what was frozen; ``name`` says which."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"the frozen file '{name}' {what}; restore it from a copy, or begin a new session")
        self.name = name


def freeze(definition: Definition, folder: Path) -> dict[str, bytes]:
    """Return the frozen files of a definition by their names in the session: the author's bytes, and the manifest.

    Raise InvalidDefinition if a file in the experiment's ``folder`` has changed since the definition was read.
    """
    experiment, framework = definition.experiment, definition.framework
    files = {
        EXPERIMENT_SNAPSHOT: _unchanged(folder, EXPERIMENT_FILE, experiment.sha256),
        FRAMEWORK_SNAPSHOT: _unchanged(folder, experiment.framework_file, framework.sha256),
        MANIFEST: _manifest(definition),
    }
    for document in definition.documents:
        file = f"{experiment.corpus}/{document.file}"
        files[frozen_name(document)] = _unchanged(folder, file, document.sha256)
    return files


def thaw(get: Callable[[str], bytes]) -> Definition:
    """Return the definition that was frozen; ``get`` returns a frozen file's bytes. Raise SnapshotDamaged.

    A document whose text was taken out has the words of ``taken_out`` for its text.
    """
    manifest = _read_manifest(_got(get, MANIFEST))
    try:
        experiment_data = _verified(get, EXPERIMENT_SNAPSHOT, manifest["experiment"]["sha256"])
        framework_data = _verified(get, FRAMEWORK_SNAPSHOT, manifest["framework"]["sha256"])
        documents = tuple(Document.model_validate(entry) for entry in manifest["documents"])
        text = _decoded(experiment_data, EXPERIMENT_SNAPSHOT)
        experiment = Experiment.model_validate({**manifest["experiment"], "text": text})
        warnings = tuple(Problem(**entry) for entry in manifest["warnings"])
    except (KeyError, TypeError, ValidationError) as error:
        raise SnapshotDamaged(MANIFEST, "lacks what a manifest holds") from error
    prompt_form = manifest.get("prompt_form", 1)
    framework, problems = parse_framework(framework_data, FRAMEWORK_SNAPSHOT, prompt_form=prompt_form)
    if framework is None:
        raise InvalidDefinition(problems)
    texts = {document.id: _text_of(get, document) for document in documents}
    return Definition(experiment, framework, documents, texts, warnings)


def prompt_form_of(get: Callable[[str], bytes]) -> int:
    """Return the form of the questions that a session puts; today's where its manifest is damaged."""
    try:
        return int(_read_manifest(_got(get, MANIFEST)).get("prompt_form", 1))
    except SnapshotDamaged:
        return PROMPT_FORM


def in_prompt_form(definition: Definition, prompt_form: int) -> Definition:
    """Return the definition with its questions in another form."""
    framework = definition.framework
    if framework.prompt_form == prompt_form:
        return definition
    read, problems = parse_framework(framework.text.encode(), framework.name, prompt_form=prompt_form)
    if read is None:
        raise InvalidDefinition(problems)
    return replace(definition, framework=read.model_copy(update={"sha256": framework.sha256}))


def taken_out(sha256: str) -> str:
    """Return what stands in the place of a text that was erased or withheld; ``sha256`` is of the text's bytes."""
    return f"This text was taken out. The SHA-256 of its bytes is {sha256}.\n"


def taken_out_of(definition: Definition) -> frozenset[str]:
    """Return the ids of the documents whose texts were taken out: nothing is to be read from what stands there now."""
    texts = definition.texts
    return frozenset(one.id for one in definition.documents if texts.get(one.id) == taken_out(one.sha256))


def texts_at_hand(definition: Definition) -> dict[str, str]:
    """Return the texts that are still there, by their ids; what stands in the place of one taken out is none."""
    gone = taken_out_of(definition)
    return {one.id: definition.texts[one.id] for one in definition.documents if one.id not in gone}


def differences(frozen: Definition, live: Definition) -> tuple[str, ...]:
    """Return in words what has changed since the freezing, empty if nothing that matters for the results has."""
    lines = []
    if frozen.experiment.sha256 != live.experiment.sha256:
        lines.append("the text of experiment.md has changed")
    if frozen.framework.sha256 != live.framework.sha256:
        lines.append(f"the text of the framework has changed{_versions(frozen.framework, live.framework)}")
    lines += _changed_settings(frozen.experiment, live.experiment)
    lines += _changed_documents(frozen.documents, live.documents)
    return tuple(lines)


def frozen_name(document: Document) -> str:
    """Return where a document's text lies in the session."""
    return f"corpus/{document.file}"


def _text_of(get: Callable[[str], bytes], document: Document) -> str:
    name = frozen_name(document)
    data = _got(get, name)
    if data == (instead := taken_out(document.sha256)).encode():
        return instead
    if sha256(data).hexdigest() != document.sha256:
        raise SnapshotDamaged(name, "does not match its hash")
    return _decoded(data, name)


def _unchanged(folder: Path, file: str, digest: str) -> bytes:
    name = f"{folder.name}/{file}"
    try:
        data = (folder / file).read_bytes()
    except OSError as error:
        raise InvalidDefinition((Problem(name, None, "the file has gone", "put it back and run again"),)) from error
    if sha256(data).hexdigest() != digest:
        raise InvalidDefinition((Problem(name, None, "the file changed while it was being frozen", "run again"),))
    return data


def _manifest(definition: Definition) -> bytes:
    content: dict[str, Any] = {
        "format": MANIFEST_FORMAT,
        "prompt_form": definition.framework.prompt_form,
        "experiment": definition.experiment.model_dump(mode="json", exclude={"text"}),
        "framework": definition.framework.model_dump(include={"name", "version", "sha256"}),
        "documents": [document.model_dump() for document in definition.documents],
        "warnings": [asdict(warning) for warning in definition.warnings],
    }
    content["manifest_sha256"] = sha256(canonical_json(content)).hexdigest()
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _read_manifest(data: bytes) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except ValueError as error:
        raise SnapshotDamaged(MANIFEST, "is not JSON") from error
    if not isinstance(content, dict):
        raise SnapshotDamaged(MANIFEST, "is not an object")
    if content.get("format") != MANIFEST_FORMAT:
        raise SnapshotDamaged(MANIFEST, f"has the unknown format {content.get('format')!r}")
    digest = content.pop("manifest_sha256", None)
    if digest != sha256(canonical_json(content)).hexdigest():
        raise SnapshotDamaged(MANIFEST, "does not match its hash")
    return content


def _got(get: Callable[[str], bytes], name: str) -> bytes:
    try:
        return get(name)
    except (LookupError, OSError) as error:
        raise SnapshotDamaged(name, "cannot be read") from error


def _verified(get: Callable[[str], bytes], name: str, digest: str) -> bytes:
    data = _got(get, name)
    if sha256(data).hexdigest() != digest:
        raise SnapshotDamaged(name, "does not match its hash")
    return data


def _decoded(data: bytes, name: str) -> str:
    try:
        return decode(data, name)
    except NotText as error:
        raise SnapshotDamaged(name, "is not text") from error


def _versions(frozen: Framework, live: Framework) -> str:
    return "" if frozen.version == live.version else f" (version {frozen.version} → {live.version})"


def _changed_settings(frozen: Experiment, live: Experiment) -> list[str]:
    lines = [
        *_added_and_removed("model", frozen.models, live.models),
        *_added_and_removed("variant", frozen.variants, live.variants),
    ]
    if frozen.runs_per_model != live.runs_per_model:
        lines.append(f"runs_per_model: {frozen.runs_per_model} → {live.runs_per_model}")
    for model in _asked(live):
        before, after = frozen.settings_of(model).parameters(), live.settings_of(model).parameters()
        if model in _asked(frozen) and before != after:
            lines.append(f"parameters of model '{model}': {_shown(before)} → {_shown(after)}")
    for model in live.models:
        stood_in, stands_in = (", ".join(each.fallback_models.get(model, ())) for each in (frozen, live))
        if model in frozen.models and stood_in != stands_in:
            lines.append(f"fallbacks of model '{model}': {stood_in or 'none'} → {stands_in or 'none'}")
    for key in ("extraction_model", "synthesis_model", "allow_substitution", "pin_versions", "blind"):
        old, new = (_as_written(getattr(each, key)) for each in (frozen, live))
        if old != new:
            lines.append(f"{key}: {old} → {new}")
    if frozen.budget_usd != live.budget_usd:
        old, new = (_as_written(each.budget_usd) for each in (frozen, live))
        how = "for new sessions; for this one: `starter.py budget SESSION --set USD`"
        lines.append(f"budget_usd: {old} → {new} ({how})")
    return lines + _changed_policy(frozen.data_policy or DataPolicy(), live.data_policy or DataPolicy())


def _changed_policy(frozen: DataPolicy, live: DataPolicy) -> list[str]:
    rules = [(rule, getattr(frozen, rule), getattr(live, rule)) for rule in DataPolicy.model_fields]
    return [f"data_policy, {rule}: {_as_written(old)} → {_as_written(new)}" for rule, old, new in rules if old != new]


def _asked(experiment: Experiment) -> list[str]:
    """Return every model that an analysis may be put to."""
    fallbacks = (name for names in experiment.fallback_models.values() for name in names)
    return list(dict.fromkeys((*experiment.models, *fallbacks)))


def _as_written(value: Any) -> str:
    """Return a setting as its author would write it."""
    if isinstance(value, tuple):
        return f"[{', '.join(value)}]"
    return {None: "not set", True: "true", False: "false"}.get(value, str(value))


def _changed_documents(frozen: Iterable[Document], live: Iterable[Document]) -> list[str]:
    before, after = ({document.id: document for document in documents} for documents in (frozen, live))
    lines = _added_and_removed("document", before, after)
    for name in before.keys() & after.keys():
        old, new = before[name], after[name]
        if old.sha256 != new.sha256:
            lines.append(f"the text of document '{name}' has changed")
        if old.metadata != new.metadata:
            columns = _changed_keys(old.metadata, new.metadata)
            lines.append(f"corpus.csv has changed for document '{name}' ({columns})")
    return sorted(lines)


def _changed_keys(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    return ", ".join(sorted(key for key in {*old, *new} if old.get(key) != new.get(key)))


def _added_and_removed(noun: str, before: Iterable[str], after: Iterable[str]) -> list[str]:
    old, new = list(before), list(after)
    removed = [f"{noun} '{name}' has been removed" for name in old if name not in new]
    return removed + [f"{noun} '{name}' has been added" for name in new if name not in old]


def _shown(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in parameters.items()) or "the vendor's defaults"
