"""How many bytes the archive takes for each byte of prompt and answer that a session has only once.

``python benchmarks/archive_bytes.py`` runs an experiment against the fake vendor and prints, as JSON, the bytes of each
kind of file in ``llm_archive/`` and two ratios to the unique bytes of prompts and answers: of what holds the calls
(requests, messages, answers), and of everything, metadata and their projection included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks import baseline  # noqa: E402
from benchmarks.make_experiment import make_experiment  # noqa: E402
from tests.fake_vendor import FakeVendor  # noqa: E402

ANSWER_BYTES = 2700  # of an answer to the made framework
REMARK = "Seen throughout the text."  # what the fake vendor says where a text is asked for
GUIDANCE = "weigh what is said against what is left unsaid, and prefer the lower score where both readings would do."
KINDS = {
    "messages": "messages/*",
    "answers": "response_*",
    "requests": "request_*",
    "metadata": "metadata_*.json",
    "shared": "shared_*.json",
    "projection": "metadata.jsonl",
}


def measure(folder: Path, asked: argparse.Namespace) -> dict[str, float]:
    """Run the experiment below ``folder``; return the bytes of each kind of file, and the ratios."""
    projects = folder / "projects"
    experiment = make_experiment(projects, documents=asked.documents, runs=asked.runs, words=asked.words)
    enlarge(experiment / "framework.md", asked.framework_bytes, asked.answer_bytes)
    with FakeVendor(folder / "vendor") as vendor:
        where = {"DISCERNUS_PROJECTS_DIR": str(projects), "DISCERNUS_STATE_DIR": str(folder / "state")}
        environment = {**os.environ, **baseline.OFFLINE, **vendor.env(), **where}
        command = [sys.executable, str(REPOSITORY / "starter.py"), experiment.name]
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    (archive,) = experiment.glob("sessions/session_*/llm_archive")
    found = {kind: sum(path.stat().st_size for path in archive.glob(pattern)) for kind, pattern in KINDS.items()}
    unique = found["messages"] + found["answers"]
    ratios = {
        "calls_per_unique_byte": round((unique + found["requests"]) / unique, 3),
        "archive_per_unique_byte": round(sum(found.values()) / unique, 3),
    }
    return {"calls": float(len(list(archive.glob("response_*")))), **found, **ratios}


def enlarge(framework: Path, framework_bytes: int, answer_bytes: int) -> None:
    """Let the framework have about so many bytes, and ask for answers of so many, where it is smaller."""
    prose, mark, block = framework.read_text(encoding="utf-8").partition("```json\n")
    said, end, rest = block.partition("\n```")
    machine = json.loads(said)
    schema = machine["output_contract"]["schema"]
    given = ANSWER_BYTES
    while given < answer_bytes:
        name = f"remark_{len(schema)}"
        schema[name] = "string"
        given += len(f'"{name}": "{REMARK}", ')
    before = f"{prose}{mark}{json.dumps(machine, indent=2)}{end}{rest}"
    missing = max(0, framework_bytes - len(before.encode()))
    title, _, body = before.partition("\n\n")
    more = "\n\n".join(f"Note {number}: {GUIDANCE}" for number in range(missing // (len(GUIDANCE) + 10)))
    framework.write_text(f"{title}\n\n{more}\n\n{body}", encoding="utf-8")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--words", type=int, default=1500, help="of each document")
    parser.add_argument("--framework-bytes", type=int, default=0, help="at the least")
    parser.add_argument("--answer-bytes", type=int, default=0, help="at the least, about")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), asked)
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
