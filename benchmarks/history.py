"""What a session costs in Temporal's history: events and bytes for each analysis, in its workflow and its batches.

``python benchmarks/history.py --analyses 2000`` runs a whole session with steps that only pretend on a real server,
since what its workflows do is all that matters here, and prints the figures as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from engine.connection import SEARCH_ATTRIBUTES, connect  # noqa: E402
from engine.server import find_binary  # noqa: E402
from tests.stub_steps import Stubs, begin, serving, session_start  # noqa: E402
from workflows import policies  # noqa: E402

MOST_EVENTS, MOST_BYTES = 51_200, 50 * 1024 * 1024  # Temporal's limits for one history


async def measure(client: Client, analyses: int, concurrency: int) -> dict[str, Any]:
    """Run a session of so many analyses; return the size of each of its histories."""
    start = session_start("history", analyses=analyses, batch_size=policies.BATCH_SIZE, concurrency=concurrency)
    stubs = Stubs(analyses=analyses)
    began = time.monotonic()
    async with serving(client, start.queue, stubs):
        handle = await begin(client, start)
        outcome = await handle.result()
    seconds = time.monotonic() - began
    count = -(-analyses // policies.BATCH_SIZE)
    parent = await _size(client, handle.id)
    batches = [await _size(client, f"{handle.id}/batch-{index:03d}") for index in range(1, count + 1)]
    events, size = (sum(column) for column in zip(parent, *batches, strict=True))
    return {
        "analyses": analyses,
        "status": outcome.status,
        "seconds": round(seconds, 1),
        "session": {"events": parent[0], "bytes": parent[1]},
        "batches": {
            "number": count,
            "largest_events": max(events for events, _ in batches),
            "largest_bytes": max(size for _, size in batches),
        },
        "per_analysis": {"events": round(events / analyses, 2), "bytes": round(size / analyses)},
        "share_of_limit": {
            "events": round(max(events for events, _ in [parent, *batches]) / MOST_EVENTS, 4),
            "bytes": round(max(size for _, size in [parent, *batches]) / MOST_BYTES, 4),
        },
    }


async def _size(client: Client, workflow_id: str) -> tuple[int, int]:
    events = [event async for event in client.get_workflow_handle(workflow_id).fetch_history_events()]
    return len(events), sum(event.ByteSize() for event in events)


async def run(analyses: int, concurrency: int) -> None:
    server = await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(find_binary(None)),
        dev_server_log_level="error",
        search_attributes=SEARCH_ATTRIBUTES,
    )
    async with server:
        client = await connect(server.client.service_client.config.target_host, server.client.namespace)
        sys.stdout.write(json.dumps(await measure(client, analyses, concurrency), indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the history that a session's workflows leave.")
    parser.add_argument("--analyses", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=64)
    asked = parser.parse_args()
    asyncio.run(run(asked.analyses, asked.concurrency))
    sys.stdout.flush()
    os._exit(0)  # an interpreter that used the Temporal client may crash while it shuts down


if __name__ == "__main__":
    main()
