"""Project folders as older programs left them, made small: numbered archives, conversation logs, chronologs."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

KEY = b"default_dev_key"
TEXTS = {
    "north_speech.txt": "Black clouds gather.\n\nThe thunder is near, and we are few.\n",
    "south_speech.txt": "A mild morning.\n\nNobody in the valley has locked a door. ",
}
ASK = (
    "You are an expert in the weather of texts. Storm (0.0-1.0): how dark it is - look for 'thunder', 'black clouds'. "
    "Calm (0.0-1.0): how still it is - look for 'mild', 'morning'. Give each a score and a confidence."
)
SCORES = {"storm": 0.8, "calm": 0.1}

DEFINITION = """\
---
name: weather_old
description: Weather in two speeches.
framework_file: framework.md
corpus: corpus/
models:
  - openai/gpt-4o
num_runs: 2
hypothesis: The north is stormier.
workflow:
  - agent: AnalysisAgent
---

# Weather of two speeches
"""

FRAMEWORK = """\
# Weather Framework v1

**Storm (0.0-1.0)**: darkness. **Calm (0.0-1.0)**: stillness.

```
Weather_Index = 0.5 * (Calm - Storm)
```
"""


def outline(scores: dict[str, float] | None = None) -> str:
    """Return an answer in prose with a labelled score below each heading."""
    parts = (
        f"**{name.capitalize()}**\n*   **Analysis:** There is some.\n*   **Score:** {value}\n*   **Confidence:** 0.9"
        for name, value in (scores or SCORES).items()
    )
    return "\n\n".join(["**Weather Analysis**", *parts, "The weather is mixed."])


def in_json(scores: dict[str, float] | None = None) -> str:
    """Return an answer as fenced JSON."""
    return f"```json\n{json.dumps({'scores': scores or SCORES}, indent=1)}\n```"


def write(root: Path, files: dict[str, str | bytes]) -> None:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)


def lines(values: Iterable[Any]) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def stamped_prompt(file: str, text: str) -> str:
    """Return a prompt that names its text's file and states the hash of the text."""
    stamp = f"[PROVENANCE:{sha256(text.encode()).hexdigest()[:12]}@../corpus/{file}]"
    return (
        "=== SYSTEM PROMPT ===\nYou are a specialist.\n\n=== USER PROMPT ===\n"
        f"{ASK}\n\nPROVENANCE VERIFICATION:\nYou are analyzing content from file: ../corpus/{file}\n"
        f"Content hash: {sha256(text.encode()).hexdigest()[:12]}\n\nCRITICAL: include {stamp}\n\n"
        f"TEXT TO ANALYZE:\n{text}\n\nRemember to include the provenance stamp {stamp} in your response."
    )


def numbered(root: Path, *, answered: int = 4, index: bool = False) -> None:
    """Make a project with one session of two speeches × two runs, killed after so many of the four; no texts."""
    archive = "weather/experiments/unknown_experiment/sessions/session_20250722_092412/llm_archive"
    asked = [(file, run) for file in TEXTS for run in (1, 2)][:answered]
    for number, (file, run) in enumerate(asked, start=1):
        answer = outline({"storm": 0.8, "calm": round(0.1 * run, 1)})
        prompt = stamped_prompt(file, TEXTS[file])
        write(root, {f"{archive}/prompt_{number:03d}.txt": prompt, f"{archive}/response_{number:03d}.txt": answer})
    if index:
        told = {"model": "openai/gpt-4o-2024", "timestamp": "2025-07-22T13:25:00+00:00", "success": True}
        usage = {"prompt_tokens": 120, "completion_tokens": 30}
        rows = [{"call_number": number, **told, "usage": usage} for number in range(1, answered + 1)]
        write(root, {f"{archive}/metadata.jsonl": lines(rows)})
    write(root, {"weather/experiment.md": DEFINITION})
    started = [event("WORKFLOW_EXECUTION_STARTED", "session_20250722_092412", {"session_id": "x"})]
    write(root, {"PROJECT_CHRONOLOG_weather.jsonl": lines(started)})


def event(name: str, session: str, data: dict[str, Any], *, at: str = "2025-07-22T13:24:12.5Z") -> dict[str, Any]:
    """Return a chronolog's event, signed as older programs signed."""
    said = {"timestamp": at, "event": name, "session_id": session, "project": "weather", "data": data}
    said["event_id"] = sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]
    message = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return {**said, "signature": hmac.new(KEY, message.encode(), sha256).hexdigest()}


def conversation(root: Path, *, zone: bool = True) -> None:
    """Make a log of two analyses, a moderator's reply and an unanswered question, with its folder of results.

    Its clock is four hours behind universal time; with ``zone`` events tell both.
    """
    session, began = "session_20250712_125417", datetime.fromisoformat("2025-07-12T12:54:17.100000")
    said: list[dict[str, Any]] = []

    def say(seconds: float, speaker: str, message: Any, **metadata: Any) -> None:
        at = (began + timedelta(seconds=seconds)).isoformat()
        said.append({"timestamp": at, "speaker": speaker, "message": message, "metadata": metadata})

    say(0, "system", "CONVERSATION_START", conversation_id="conversation_20250712_125417_1640d799")
    for number, (file, text) in enumerate(TEXTS.items(), start=1):
        agent = f"analysis_agent_{number}"
        facts = {"agent_id": agent, "agent_type": "analysis_agent", "corpus_file": file}
        own = {"agent_id": agent, "session_id": session}
        say(number * 60, "system", f"AGENT_SPAWNED: {facts}", type="ensemble_event", session_id=session)
        if zone:
            utc = (began + timedelta(hours=4, seconds=number * 60)).isoformat()
            echo = {"timestamp": utc, "session_id": session, "event_data": facts}
            say(number * 60, "system", "SOAR_EVENT: soar.ensemble.event - unknown", type="redis_event", event_data=echo)
        prompt = f"You are {agent}, a specialist.\n\nANALYSIS INSTRUCTIONS:\n{ASK}\n\nTEXT TO ANALYZE:\nFile: {file}\n"
        prompt += f"Content:\n{text}\n\nTASK: Apply the framework systematically to this text."
        say(number * 60 + 1, agent, prompt, type="llm_request", **own)
        say(number * 60 + 31, agent, in_json() if number == 1 else outline(), type="llm_response", **own)
    say(200, "moderator_agent", "Discuss the outliers.", type="llm_request", agent_id="moderator_agent")
    say(210, "moderator_agent", "There is a meteorological outlier.", type="llm_response", agent_id="moderator_agent")
    say(220, "referee_agent", "Arbitrate.", type="llm_request", agent_id="referee_agent")
    saved = {"results_directory": "projects/weather/results/2025-07-12_13-04-05"}
    say(230, "system", f"RESULTS_SAVED: {saved}", type="ensemble_event", session_id=session)
    results = {"session_id": session, "timestamp": "2025-07-12_13-04-05", "analysis_count": 2}
    gone = {"session_id": "session_20250712_131208", "timestamp": "2025-07-12_13-23-09", "analysis_count": 8}
    write(
        root,
        {
            "experiment.md": DEFINITION,
            "framework.md": FRAMEWORK,
            "conversations/conversation_20250712_125417_1640d799.jsonl": lines(said),
            "results/2025-07-12_13-04-05/session_metadata.json": json.dumps(results),
            "results/2025-07-12_13-04-05/final_report.md": "# Report\n",
            "results/2025-07-12_13-23-09/session_metadata.json": json.dumps(gone),
            "notes.docx": b"\x00\x01binary",
        },
    )


def chronolog(root: Path) -> None:
    """Make a project whose chronolog holds the only copy of its answers: plain, as Python literals, cut, failed.

    Some of its events stand there twice, one was altered, some are of tests, and a crash tore its last line. The texts
    are in the tree.
    """
    session = "session_20250715_082543"
    agents = {
        f"analysis_agent_run{run}_openai_gpt-4o_{file.removesuffix('.txt')}": (file, run)
        for run in (1, 2)
        for file in TEXTS
    }
    spawned = [
        event(
            "ANALYSIS_AGENT_SPAWNED",
            session,
            {"agent_id": agent, "corpus_file": file, "model_name": "openai/gpt-4o", "run_num": run},
            at=f"2025-07-15T12:26:0{number}Z",
        )
        for number, (agent, (file, run)) in enumerate(agents.items())
    ]
    names = list(agents)
    told: list[Any] = [
        in_json(),
        str({"raw_response": in_json({"storm": 0.4, "calm": 0.6}), "note": "it's a literal"}),
        str({"scores": {"storm": 0.3, "calm": 0.7}, "evidence": ["it's mild"], "more": None}),
        str({"error": "litellm.BadRequestError: LLM Provider NOT provided"}),
    ]
    answers = [
        event(
            "ANALYSIS_RESULT", session, {"agent_id": agent, "raw_response": answer}, at=f"2025-07-15T12:27:0{number}Z"
        )
        for number, (agent, answer) in enumerate(zip(names, told, strict=True))
    ]
    cut = ("I would say that the weather is stormy. " * 200)[:500] + "..."
    broken = {"agent_id": "analysis_agent_run3_openai_gpt-4o_north_speech", "error": "no JSON", "raw_response": cut}
    altered = event("WORKFLOW_STEP_STARTED", session, {"step": 1}, at="2025-07-15T12:26:30Z")
    altered["data"] = {"step": 2}
    by_test = event("PROJECT_INITIALIZATION", "session_test", {"command": "pytest tests/test_all.py"})
    everything = [*spawned, altered, *answers, answers[0], by_test, event("JSON_DECODE_ERROR", session, broken)]
    write(
        root,
        {
            "PROJECT_CHRONOLOG_weather.jsonl": lines(everything) + '{"timestamp": "2025-07-15T12:',
            "experiments/01_smoke/experiment.md": DEFINITION,
            "experiments/01_smoke/framework.md": FRAMEWORK,
            **{f"experiments/01_smoke/corpus/{file}": text for file, text in TEXTS.items()},
        },
    )
    (root / "latest").symlink_to("experiments/01_smoke")
    (root / "elsewhere").symlink_to("/nowhere/at/all")


def definitions_only(root: Path) -> None:
    """Make a project that never ran: a definition, a framework in prose, texts and what its author knew of them."""
    manifest = "texts:\n" + "".join(f"  - {{id: t, filename: {file}, metadata: {{region: x}}}}\n" for file in TEXTS)
    write(
        root,
        {
            "experiment.md": DEFINITION,
            "framework.md": FRAMEWORK,
            "corpus/manifest.yaml": manifest,
            **{f"corpus/{file}": text for file, text in TEXTS.items()},
        },
    )
