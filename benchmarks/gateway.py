"""What our gateway adds to a call: CPU and memory beside plain ``litellm.acompletion``, without engine and archive.

``python benchmarks/gateway.py`` calls a fake vendor on loopback, the plain way and through the gateway by turns in one
process, and prints the median CPU of each in milliseconds a call, then the memory of two processes that make the same
calls in one way each. CPU is the process's own, all threads; the vendor is another process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from discernus.llm import gateway  # noqa: E402
from discernus.llm.calls import Message, ModelRequest  # noqa: E402
from discernus.logs import log_to  # noqa: E402
from tests.fake_vendor import FakeVendor  # noqa: E402

MODELS = ("openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5-20250929", "gemini/gemini-2.5-flash")
CONTRACT = '{"hope_score": "number", "fear_score": "number", "evidence": ["string"], "confidence": "number"}'
SYSTEM = "You score texts for a study of political speech; every dimension is defined at length. " * 60
TEXT = "Nobody wrote this text, and it says little; it is as long as a short speech would be. " * 40
WARMING = 30  # calls before anything is counted

Ask = Callable[[str, int], Awaitable[object]]


def request(model: str, number: int) -> ModelRequest:
    """Return a question of the usual size (8 kB), another one for each number."""
    messages = (
        Message(role="system", content=f"{SYSTEM}\nReturn one JSON object of this form:\n{CONTRACT}"),
        Message(role="user", content=f"BEGIN T{number}\n{TEXT}\nEND T{number}"),
    )
    return ModelRequest(model=model, messages=messages, parameters={"temperature": 0.2, "max_tokens": 900})


async def plainly(model: str, number: int) -> object:
    """Call as anybody would with LiteLLM alone, once and not again."""
    import litellm

    asked = request(model, number)
    return await litellm.acompletion(
        model=model,
        messages=[message.model_dump() for message in asked.messages],
        timeout=asked.timeout_s,
        num_retries=0,
        max_retries=0,
        drop_params=True,
        **asked.parameters,
    )


def import_plainly() -> None:
    """Import LiteLLM as it comes, but for the tables that it would fetch from the network."""
    os.environ.update({"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True"})
    import litellm  # noqa: F401


async def through_the_gateway(model: str, number: int) -> object:
    return await gateway.complete(request(model, number), idempotency_key=f"benchmark-{number}")


async def cpu_ms(ask: Ask, model: str, number: int) -> float:
    """Return the CPU that one call takes, in ms."""
    begun = time.process_time_ns()
    await ask(model, number)
    return (time.process_time_ns() - begun) / 1e6


async def compare(model: str, calls: int) -> dict[str, float]:
    """Return the median CPU of a plain call and of ours, in ms, over so many of each, made by turns."""
    plain, ours = [], []
    for number in range(WARMING + calls):
        spent = await cpu_ms(plainly, model, number), await cpu_ms(through_the_gateway, model, number)
        if number >= WARMING:
            plain.append(spent[0])
            ours.append(spent[1])
    before, after = statistics.median(plain), statistics.median(ours)
    return {
        "plain_ms": round(before, 3),
        "gateway_ms": round(after, 3),
        "added_ms": round(after - before, 3),
        "added_share": round((after - before) / after, 3),
    }


async def make(ask: Ask, calls: int) -> float:
    """Make so many calls in that way, 16 at a time; return the process's memory in MB afterwards."""
    slots = asyncio.Semaphore(16)

    async def one(number: int) -> None:
        async with slots:
            await ask(MODELS[0], number)

    await asyncio.gather(*(one(number) for number in range(calls)))
    return round(psutil.Process().memory_info().rss / 1e6, 1)


def memory_mb(way: str, calls: int, environment: dict[str, str]) -> float:
    """Return the memory of a process of its own that makes its calls in that way alone, in MB."""
    command = [sys.executable, __file__, "--only", way, "--calls", str(calls)]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(json.loads(told.stdout))


def make_alone(way: str, calls: int) -> float:
    """Make so many calls in one way, in this process; return its memory in MB."""
    if way == "plain":
        import_plainly()
        return asyncio.run(make(plainly, calls))
    gateway.load_client()
    return asyncio.run(make(through_the_gateway, calls))


def measure(folder: Path, calls: int) -> dict[str, object]:
    """Return CPU by model, over so many calls of each kind, and memory by way, over four times as many."""

    async def compare_all() -> dict[str, dict[str, float]]:
        return {model: await compare(model, calls) for model in MODELS}

    with FakeVendor(folder / "vendor") as vendor:
        environment = {**os.environ, **vendor.env()}
        os.environ.update(vendor.env())
        gateway.load_client()
        cpu = asyncio.run(compare_all())
        memory = {way: memory_mb(way, calls * 4, environment) for way in ("plain", "gateway")}
    return {"cpu": cpu, "memory_mb": memory | {"added_share": round(1 - memory["plain"] / memory["gateway"], 3)}}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=500, help="of each kind and model")
    parser.add_argument("--only", choices=("plain", "gateway"), help="make calls in one way and print the memory in MB")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        log_to(Path(folder) / "operational.jsonl")  # a line for each call, as in a worker
        result = make_alone(asked.only, asked.calls) if asked.only else measure(Path(folder), asked.calls)
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
