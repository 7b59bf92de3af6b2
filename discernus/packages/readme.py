"""README.md of a package: what is in it, how to check it, how to recompute every number, and how to ask anew."""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath

from discernus.experiments.experiment import Experiment
from discernus.packages.counting import counted
from discernus.packages.reuse import taken_over
from discernus.packages.subject import Subject
from discernus.packages.workbench import MODELS_FILE

UNRECORDED = "unrecorded/"  # before the name of a model that a migrated session does not tell
_STORE = PurePosixPath("anew")  # a projects folder of its own, which is in nobody's way
_AGAIN = _STORE / "again/experiments/again"

_FILES = (
    ("tables/results.csv", "the scores: a row for each analysis, with models, runs, versions, costs"),
    ("tables/calls.csv", "a row for each prompt and its answer, with the files of their words"),
    ("tables/documents.csv", "the texts: length, hash, and whether they are here"),
    ("tables/corpus.csv", "what the author says of each text"),
    ("tables/codebook.csv", "what each column of each table means, in which unit"),
    ("session/", "the session as it was archived: prompts, answers, scores, report, log of events"),
    ("session/deliverables/final_report.md", "the report"),
    ("methods.md", "a paragraph for a paper's methods section"),
    ("citation.bib", "how to cite this package"),
    ("LICENCES.md", "what may be done with the texts, the annotations and the code"),
    ("environment/", "versions of everything that had a part in it"),
    ("ro-crate-metadata.json", "all of this for machines: RO-Crate 1.1 with W3C PROV relations"),
)


def readme(subject: Subject) -> str:
    """Return README.md."""
    facts = subject.session.facts
    width = max(len(name) for name, _ in _FILES)
    version = subject.ran or subject.versions["discernus"]
    lines = [
        f"# {subject.title}",
        "",
        subject.description,
        "",
        f"Project {facts.project}, experiment {facts.experiment}, {facts.session}; packed "
        f"{subject.exported_at:%Y-%m-%d} (UTC).",
        "",
        *_taken_over(subject),
        *_taken_out(subject),
        "## What is here",
        "",
        "```",
        *(f"{name:<{width}}  {what}" for name, what in _FILES),
        "```",
        "",
        "## Check it, and recompute every number",
        "",
        f"With discernus {version} (another version says that it is another). Neither needs a key, a model or a",
        "network.",
        "",
        "```",
        "starter.py verify PACKAGE      is every file what was packed, and what was sealed?",
        "starter.py reproduce PACKAGE   scores and tables again, from the archived answers",
        "```",
        "",
        "Without discernus: `sha256sum -c manifest-sha256.txt`, in the folder above this one.",
        "",
        *_again(subject),
    ]
    return "\n".join(lines)


def _taken_over(subject: Subject) -> list[str]:
    sentences = taken_over(one.record for one in subject.calls)
    return ["## What was not asked for anew", "", *sentences, ""] if sentences else []


def _taken_out(subject: Subject) -> list[str]:
    documents = {one for redaction in subject.redactions for one in redaction.documents}
    if not documents:
        return []
    unreadable = [name for redaction in subject.redactions for name in redaction.unreadable]
    lines = [
        "## What is not here",
        "",
        f"The words of {counted(len(documents), 'text')} were taken out: of the corpus, of the prompts, and of what",
        "models quoted. `⟨taken out⟩` stands where they stood. `session/system_state/redactions/` names every file",
        "that is not what was sealed, with the hash of what it was. Whoever has the texts can compare their hashes",
        "with `tables/documents.csv`. No score was changed by it.",
        "",
    ]
    if unreadable:
        lines += [
            f"{counted(len(unreadable), 'answer')} had to go whole, since no score could be read without the words",
            f"taken out; these scores stand as they were read before: {', '.join(unreadable)}.",
            "",
        ]
    return lines


def _again(subject: Subject) -> list[str]:
    experiment = subject.session.definition.experiment
    if any(model.startswith(UNRECORDED) for model in experiment.models):
        return ["## Ask the models anew", "", "That cannot be done: which models were asked was not recorded.", ""]
    if subject.redactions:
        return ["## Ask the models anew", "", "For that the texts are needed, which are not all here.", ""]
    return [
        "## Ask the models anew",
        "",
        "This calls them again, and costs what they cost. Language models seldom give the same answer twice.",
        "",
        "```",
        *_commands(experiment, models_file=subject.has_models_file),
        "```",
        "",
    ]


def _commands(experiment: Experiment, *, models_file: bool) -> list[str]:
    """Return what makes the experiment again, in a store of its own, and runs it."""
    framework, corpus = (PurePosixPath(name) for name in (experiment.framework_file, experiment.corpus))
    copies = [
        ("PACKAGE/data/session/experiment_snapshot.md", PurePosixPath("experiment.md")),
        ("PACKAGE/data/session/framework_snapshot.md", framework),
        ("PACKAGE/data/session/corpus/.", corpus),
        ("PACKAGE/data/tables/corpus.csv", corpus.parent / "corpus.csv"),
    ]
    folders = " ".join(_quoted(_AGAIN / folder) for folder in dict.fromkeys((framework.parent, corpus)))
    return [
        f"mkdir -p {folders}",
        *(f"cp -r {source} {_quoted(_AGAIN / target)}" for source, target in copies),
        *([f"cp PACKAGE/data/environment/{MODELS_FILE} {_STORE}/"] if models_file else []),
        f"starter.py again/again --projects-dir {_STORE}",
    ]


def _quoted(path: PurePosixPath) -> str:
    return shlex.quote(path.as_posix())
