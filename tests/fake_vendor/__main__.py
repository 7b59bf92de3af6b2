"""Run the fake vendor: ``python -m tests.fake_vendor --port 0 --state-dir D [--faults F] [--parent PID]``."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from tests.fake_vendor.faults import Settings
from tests.fake_vendor.server import Vendor
from tests.fake_vendor.wire import Connection


async def serve(port: int, state_dir: Path, settings: Settings, parent: int | None) -> None:
    """Serve until told to stop, or until the parent is gone."""
    vendor = Vendor(state_dir, settings)
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stopped.set)
    server = await loop.create_server(lambda: Connection(vendor), "127.0.0.1", port, backlog=1024)
    written = state_dir / "port.new"
    written.write_text(f"{server.sockets[0].getsockname()[1]}\n")
    written.rename(state_dir / "port")
    child = parent == os.getppid()
    while not stopped.is_set():
        if parent is not None and not _is_there(parent, child):
            return
        try:
            await asyncio.wait_for(stopped.wait(), 0.5)
        except TimeoutError:
            continue


def _is_there(parent: int, child: bool) -> bool:
    if child:
        return os.getppid() == parent
    try:
        os.kill(parent, 0)
    except ProcessLookupError:
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fake_vendor", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free port, written to STATE_DIR/port")
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--faults", type=Path, help="a JSON file of settings (see faults.Settings)")
    parser.add_argument("--parent", type=int, help="stop when this process is gone")
    arguments = parser.parse_args()
    arguments.state_dir.mkdir(parents=True, exist_ok=True)
    settings = Settings()
    if arguments.faults is not None:
        settings = settings.changed(json.loads(arguments.faults.read_text()))
    asyncio.run(serve(arguments.port, arguments.state_dir, settings, arguments.parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
