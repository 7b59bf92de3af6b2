"""The floor of the benchmark: bare asyncio and LiteLLM making the same calls, with nothing kept and nothing survived.

``python benchmarks/baseline.py`` starts the fake vendor and prints what a fresh interpreter needed for all calls,
its start and LiteLLM's import included: ``{"wall_s": …, "cpu_s": …, "calls": …, "peak_memory_mb": …}``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.make_experiment import INSTRUCTIONS, POLES, analysis_prompt, document_text, schema  # noqa: E402

Message = dict[str, str]
OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True"}


async def make_all_calls(documents: int, runs: int, in_flight: int, extraction: bool) -> int:
    """Have every text analysed ``runs`` times and each answer extracted; return the number of calls made."""
    import litellm

    slots = asyncio.Semaphore(in_flight)
    texts = [document_text(number) for number in range(1, documents + 1)]
    asked = f"{analysis_prompt()}\n\n{INSTRUCTIONS}\n\n{json.dumps(schema(), indent=2)}"
    shape = json.dumps({"scores": {pole.name: "number" for pole in POLES}})
    extracted = f"Extract the scores from the analysis that follows. Return only {shape}"

    async def call(messages: list[Message]) -> str:
        async with slots:
            response = await litellm.acompletion(
                model="openai/scribe", messages=messages, timeout=60, num_retries=0, max_retries=0
            )
        return str(response.choices[0].message.content)

    async def analyse(text: str) -> int:
        answer = await call([{"role": "system", "content": asked}, {"role": "user", "content": text}])
        if not extraction:
            json.loads(answer)
            return 1
        json.loads(await call([{"role": "system", "content": extracted}, {"role": "user", "content": answer}]))
        return 2

    return sum(await asyncio.gather(*(analyse(text) for _ in range(runs) for text in texts)))


def measure(environment: dict[str, str], arguments: list[str]) -> dict[str, float]:
    """Run the calls in a fresh interpreter and return what it took; RuntimeError if it failed."""
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        command = [sys.executable, str(Path(__file__).resolve()), "--calls-only", *arguments]
        actions = [(os.POSIX_SPAWN_DUP2, output.fileno(), 1)]
        child = os.posix_spawn(sys.executable, command, {**os.environ, **environment}, file_actions=actions)
        _, status, used = os.wait4(child, 0)
        wall_s = time.perf_counter() - started
        output.seek(0)
        said = output.read().decode()
    if status != 0:
        raise RuntimeError(f"the calls ended with exit code {os.waitstatus_to_exitcode(status)}; see above")
    return {
        "wall_s": round(wall_s, 3),
        "cpu_s": round(used.ru_utime + used.ru_stime, 3),
        "calls": int(said.split()[-1]),
        "peak_memory_mb": round(used.ru_maxrss / 1024, 1),
    }


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Bare asyncio and LiteLLM against the fake vendor.")
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds per call, where the vendor is started here")
    parser.add_argument("--no-extraction", action="store_true", help="analyses only")
    parser.add_argument("--base-url", help="a fake vendor that is running already")
    parser.add_argument("--calls-only", action="store_true", help="make the calls in this very process")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    asked = parse(argv)
    if asked.calls_only:
        calls = asyncio.run(make_all_calls(asked.documents, asked.runs, asked.in_flight, not asked.no_extraction))
        sys.stdout.write(f"{calls}\n")
        return 0

    from tests.fake_vendor import NOT_A_KEY, FakeVendor

    if asked.base_url:
        environment = {"OPENAI_API_KEY": NOT_A_KEY, "OPENAI_API_BASE": f"{asked.base_url}/v1"}
        result = measure({**OFFLINE, **environment}, argv)
    else:
        with (
            tempfile.TemporaryDirectory() as folder,
            FakeVendor(Path(folder), latency_s=asked.latency) as vendor,
        ):
            result = measure({**OFFLINE, **vendor.env()}, argv)
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
