"""README.md of a package: what is in it, how to check it, how to recompute every number, and how to ask anew."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from pathlib import PurePosixPath

from discernus.experiments.experiment import Experiment
from discernus.packages.contents import DESCRIPTIONS
from discernus.packages.counting import counted
from discernus.packages.reuse import told_of_reuse
from discernus.packages.subject import Subject
from discernus.packages.workbench import MODELS_FILE

UNRECORDED = "unrecorded/"  # before the name of a model that a migrated session does not tell
_STORE = PurePosixPath("anew")  # a projects folder of its own, which is in nobody's way
_AGAIN = _STORE / "again/experiments/again"

_SESSION = "session/"
_WHOLE = "The session as it was archived: prompts, answers, scores, report, log of events"


def readme(subject: Subject, names: Collection[str]) -> str:
    """Return README.md; ``names`` are of the other files of the package."""
    facts = subject.session.facts
    listed = {_SESSION: _WHOLE} | {name: what for name, what in DESCRIPTIONS.items() if name in names}
    width = max(map(len, listed))
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
        *(f"{name:<{width}}  {what}" for name, what in listed.items()),
        "```",
        "",
        "## Check it, and recompute every number",
        "",
        "In the folder above this one, which holds `bagit.txt`: is every file what was packed? And where is it?",
        "",
        "```",
        "sha256sum -c --quiet manifest-sha256.txt",
        'export PACKAGE="$PWD"',
        "```",
        "",
        f"Then in the folder of discernus {version} (another version says that it is another): is the session what was",
        "sealed, and do its archived answers give every score and table again? No key and no model is needed.",
        "",
        "```",
        'uv run starter.py verify "$PACKAGE"',
        'uv run starter.py reproduce "$PACKAGE"',
        "```",
        "",
        "Where R is at hand, it makes the main tables of the scores, without discernus:",
        "",
        "```",
        'Rscript "$PACKAGE/data/tables/main_tables.R" "$PACKAGE/data/tables/results.csv"',
        "```",
        "",
        *_again(subject),
    ]
    return "\n".join(lines)


def _taken_over(subject: Subject) -> list[str]:
    sentences = told_of_reuse(subject)
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
        "In the folder of discernus. This calls them again, and costs what they cost; the last command says how much",
        "before it does. Language models seldom give the same answer twice.",
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
        ("session/experiment_snapshot.md", PurePosixPath("experiment.md")),
        ("session/framework_snapshot.md", framework),
        ("session/corpus/.", corpus),
        ("tables/corpus.csv", corpus.parent / "corpus.csv"),
    ]
    folders = " ".join(_quoted(_AGAIN / folder) for folder in dict.fromkeys((framework.parent, corpus)))
    return [
        f"mkdir -p {folders}",
        *(f'cp -r "$PACKAGE/data/{source}" {_quoted(_AGAIN / target)}' for source, target in copies),
        *([f'cp "$PACKAGE/data/environment/{MODELS_FILE}" {_STORE}/'] if models_file else []),
        f"uv run starter.py again/again --projects-dir {_STORE}",
    ]


def _quoted(path: PurePosixPath) -> str:
    return shlex.quote(path.as_posix())
