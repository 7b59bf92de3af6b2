"""An orderly end: Ctrl-C, SIGTERM and the closing of the terminal stop what is new, and what is in flight finishes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from cli.display import Display, silence
from cli.exits import INTERRUPTED


def listen(stop: asyncio.Event, display: Display) -> None:
    """Let Ctrl-C, SIGTERM and the closing of the terminal ask for an orderly end."""

    def asked() -> None:
        if stop.is_set():  # once more: the process that makes the calls goes on by itself until each is archived
            display.say("leaving now; calls in flight are finished and kept in the background")
            display.close()
            os._exit(INTERRUPTED)
        stop.set()
        display.say("stopping: nothing new is started")

    def hung_up() -> None:
        for stream in (sys.stdout, sys.stderr):
            silence(stream)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked)
    loop.add_signal_handler(signal.SIGHUP, hung_up)
