"""Write a project with one experiment of any size, the same for the same arguments: input for tests and benchmarks.

``python benchmarks/make_experiment.py PROJECTS_DIR --documents 200 --runs 3 --model openai/scribe`` writes it to
``PROJECTS_DIR/bench/experiments/speeches``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

PROJECT, EXPERIMENT = "bench", "speeches"


@dataclass(frozen=True)
class Pole:
    """One dimension of the made framework, with the phrases that stand for it."""

    label: str
    description: str
    markers: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.label.lower().replace(" ", "_")


POLES = (
    Pole("Urgency", "The text presses for action now.", ("no time to lose", "this very week", "before it is too late")),
    Pole("Patience", "The text asks for time and care.", ("step by step", "in due season", "we can wait for")),
    Pole("Common Cause", "The text joins its hearers.", ("side by side", "all our households", "shoulder the work")),
    Pole("Rivalry", "The text sets its hearers against others.", ("the other bank", "take what is ours", "outdo them")),
    Pole(
        "Plain Speaking", "The text says what is known.", ("the figures are these", "i will say it plainly", "i erred")
    ),
    Pole("Evasion", "The text avoids an answer.", ("it is being looked into", "others will know", "in some respects")),
    Pole("Remembrance", "The text leans on the past.", ("our grandparents", "as it was then", "the old charter")),
    Pole("Renewal", "The text looks to what is new.", ("a fresh start", "new foundations", "what comes next")),
    Pole("Civic Duty", "The text speaks of obligations.", ("our share of the load", "we owe it to", "take your turn")),
    Pole(
        "Grievance", "The text speaks of wrongs suffered.", ("nobody asked us", "passed over again", "the unpaid bill")
    ),
)
METRICS = {
    "steadiness": "patience_score - urgency_score",
    "concord_index": "0.5 * (common_cause_score - rivalry_score) + 0.5 * (civic_duty_score - grievance_score)",
    "candour_share": "plain_speaking_score / (plain_speaking_score + evasion_score + 0.001)",
}
INSTRUCTIONS = (
    "Answer with one JSON object that has exactly the keys of the schema, and with nothing before or after it."
)
OPENINGS = ("Neighbours", "Members of the council", "Friends of the harbour", "Colleagues", "Guests of the valley")
PLACES = (
    "the ferry landing",
    "the upper mill",
    "the grain hall",
    "the school roof",
    "the north road",
    "the lamp works",
)
CLAUSES = (
    "When we look at {place}, {marker} is what comes to mind",
    "The report on {place} has {number} pages, and {marker} stands on the first of them",
    "At {place} I heard it said that {marker}, and I have thought about it since",
    "There are {number} families near {place}, and for them {marker} is no mere phrase",
    "As for {place}, {marker}, whatever the season brings",
)
FILLERS = (
    "The ledger for {place} lists {number} entries this quarter.",
    "A committee of {number} people walked from {place} to the bridge and back.",
    "Rain fell on {place} for {number} days, and the gutters held.",
    "Of the {number} letters that reached us, most were about {place}.",
    "The carpenters at {place} counted {number} beams that need repair.",
)


def analysis_prompt() -> str:
    """Return the prompt by which the framework is put to a model."""
    poles = "\n".join(f"{pole.label}: {pole.description} Look for {_quoted(pole)}." for pole in POLES)
    return (
        "You read speeches given in small assemblies and judge how they address their hearers. Judge each of these ten "
        "dimensions by itself; a text may be high on both poles of an axis, or low on both.\n\n"
        f"{poles}\n\n"
        "For every dimension give a score from 0.0 (absent) to 1.0 (dominant), your confidence from 0.0 to 1.0, and up "
        "to two verbatim quotations as evidence. Consider words, meaning and the order of arguments; do not infer what "
        "the speaker leaves unsaid. Name the tone of the whole speech in one or two words."
    )


def schema() -> dict[str, str]:
    """Return the form of the answer that the framework asks for."""
    parts = {"score": "number", "confidence": "number", "evidence": "array"}
    asked = {f"{pole.name}_{part}": kind for pole in POLES for part, kind in parts.items()}
    return {"tone": "string", **asked}


def framework_text() -> str:
    """Return framework.md: prose with the marker phrases, and the block for machines."""
    axes = [f"### {pole.label}\n\n{pole.description}\n\nMarkers: {_quoted(pole)}.\n" for pole in POLES]
    block: dict[str, Any] = {
        "name": "assembly_speech",
        "version": "1.0",
        "display_name": "Assembly Speech Framework",
        "dimensions": {
            pole.name: {
                "label": pole.label,
                "description": pole.description,
                "markers": list(pole.markers),
                "scale": [0, 1],
            }
            for pole in POLES
        },
        "analysis_variants": {
            "default": {"description": "All ten dimensions at once", "analysis_prompt": analysis_prompt()}
        },
        "calculation_spec": METRICS,
        "output_contract": {"schema": schema(), "instructions": INSTRUCTIONS},
    }
    return (
        "# Assembly Speech Framework\n\n"
        "How a speech to a small assembly addresses its hearers: ten dimensions on five axes of two poles, each scored "
        "by itself from 0.0 to 1.0.\n\n## Dimensions\n\n"
        + "\n".join(axes)
        + "\n<details><summary>For machines</summary>\n\n```json\n"
        + json.dumps(block, indent=2)
        + "\n```\n\n</details>\n"
    )


def experiment_text(
    models: Sequence[str],
    runs: int,
    extraction_model: str | None = None,
    concurrency: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> str:
    """Return experiment.md in the current form."""
    lines = ["format: 1", "framework_file: framework.md", "corpus: corpus", "analysis_variant: default", "models:"]
    lines += [f"  - {model}" for model in models]
    lines.append(f"runs_per_model: {runs}")
    if extraction_model is not None:
        lines.append(f"extraction_model: {extraction_model}")
    if concurrency is not None:
        lines.append(f"concurrency: {concurrency}")
    lines += [f"{key}: {json.dumps(value)}" for key, value in (settings or {}).items()]  # JSON is YAML
    body = "# Speeches to small assemblies\n\nDo the speeches differ in how they address their hearers?\n"
    return "---\n" + "\n".join(lines) + "\n---\n\n" + body


def document_text(number: int, words: int = 300) -> str:
    """Return the text with that number (from 1), which leans towards some of the dimensions."""
    random = Random(f"document {number}")
    leanings = random.sample(POLES, 4)
    sentences = [f"{random.choice(OPENINGS)}, this is address number {number} of the year."]
    length = len(sentences[0].split())
    while length < words:
        marker = random.choice(random.choice(leanings).markers)
        form = random.choice(FILLERS) if random.random() < 0.5 else random.choice(CLAUSES) + "."
        sentence = form.format(place=random.choice(PLACES), number=random.randint(3, 97), marker=marker)
        sentences.append(sentence)
        length += len(sentence.split())
    paragraphs = [" ".join(sentences[start : start + 5]) for start in range(0, len(sentences), 5)]
    return "\n\n".join(paragraphs) + "\n"


def make_experiment(
    projects_dir: Path,
    *,
    models: Sequence[str] = ("openai/scribe",),
    documents: int = 8,
    runs: int = 3,
    words: int = 300,
    extraction_model: str | None = None,
    concurrency: int | None = None,
    name: str = EXPERIMENT,
    project: str = PROJECT,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Write the experiment and return its folder, ``projects_dir/project/experiments/name``.

    ``settings`` are further keys of experiment.md.
    """
    folder = projects_dir / project / "experiments" / name
    (folder / "corpus").mkdir(parents=True)
    (folder / "framework.md").write_text(framework_text(), encoding="utf-8")
    (folder / "experiment.md").write_text(
        experiment_text(models, runs, extraction_model, concurrency, settings), encoding="utf-8"
    )
    rows = ["file,id,language,season"]
    for number in range(1, documents + 1):
        identity = f"address-{number:05d}"
        (folder / "corpus" / f"{identity}.txt").write_text(document_text(number, words), encoding="utf-8")
        rows.append(f"{identity}.txt,{identity},en,{('spring', 'autumn')[number % 2]}")
    (folder / "corpus.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def _quoted(pole: Pole) -> str:
    return ", ".join(f'"{marker}"' for marker in pole.markers)


def main() -> int:
    parser = argparse.ArgumentParser(description="Write a project with one experiment of any size.")
    parser.add_argument("projects_dir", type=Path)
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--words", type=int, default=300)
    parser.add_argument("--model", action="append", dest="models", help="may be given several times")
    parser.add_argument("--extraction-model")
    parser.add_argument("--concurrency", type=int)
    asked = parser.parse_args()
    folder = make_experiment(
        asked.projects_dir,
        models=asked.models or ("openai/scribe",),
        documents=asked.documents,
        runs=asked.runs,
        words=asked.words,
        extraction_model=asked.extraction_model,
        concurrency=asked.concurrency,
    )
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
