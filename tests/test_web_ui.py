"""Temporal's Web UI as a researcher sees it in a browser while a session runs: names, counts and scores to read."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from benchmarks.make_experiment import make_experiment
from tests.running import PATIENCE_S, Starter, count, ended, environment, kill_9, session_folder, wait_until

CHROMIUM = shutil.which("chromium") or ""
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1400",
    "--remote-debugging-port=0",
)

VISIBLE = """
    [document, ...[...document.querySelectorAll('iframe')].map(frame => frame.contentDocument)]
        .map(page => page && page.body ? page.body.innerText : '').join('\\n')
"""

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium here to look at the Web UI with (Debian's will do)")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Return the address that a starter gives of its session's page, and the name of the session, which runs on."""
    projects = tmp_path_factory.mktemp("seen") / "projects"
    make_experiment(projects, models=["offline/lexicon"], documents=60, runs=2, words=60)
    env = environment(projects, DISCERNUS_OFFLINE_DELAY_S="6")
    with ended(projects):
        starter = Starter(projects, "speeches", "--concurrency", "10", env=env)
        try:
            done = "bench/experiments/speeches/sessions/*/extracted/extracted_*.json"
            wait_until(lambda: count(projects, done) >= 20, "so many analyses are done that the session tells of them")
            (page,) = re.findall(r"^Web UI: (http://\S+)$", starter.output, re.MULTILINE)
            yield page, f"bench/speeches/{session_folder(projects).name}"
        finally:
            kill_9(starter.pid)


class Browser:
    """A page in a browser, of which we see what a person would: the text that is rendered."""

    def __init__(self, page: aiohttp.ClientWebSocketResponse) -> None:
        self._page = page
        self._sent = 0

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._sent += 1
        await self._page.send_json({"id": self._sent, "method": method, "params": parameters})
        while True:
            answer: dict[str, Any] = await self._page.receive_json()
            if answer.get("id") == self._sent:
                return dict(answer.get("result", {}))

    async def open(self, address: str) -> None:
        await self.ask("Page.navigate", url=address)

    async def click(self, words: str) -> None:
        """Click on the link with these words."""
        links = "[...document.querySelectorAll('a')]"
        await self.ask(
            "Runtime.evaluate", expression=f"{links}.find(link => link.innerText.startsWith({words!r})).click()"
        )

    async def see(self, *patterns: str) -> str:
        """Return the page's text as soon as it holds all the patterns."""
        text, missing = "", list(patterns)
        for _ in range(int(PATIENCE_S / 0.3)):
            shown = await self.ask("Runtime.evaluate", expression=VISIBLE)
            text = re.sub(r"\s+", " ", shown["result"]["value"])
            missing = [pattern for pattern in patterns if not re.search(pattern, text)]
            if not missing:
                return text
            await asyncio.sleep(0.3)
        raise AssertionError(f"the page does not show {missing}; it shows:\n{text}")


@asynccontextmanager
async def browser(profile: Path) -> AsyncIterator[Browser]:
    command = [CHROMIUM, *QUIET, f"--user-data-dir={profile}", "about:blank"]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        port_file = profile / "DevToolsActivePort"
        port = await asyncio.to_thread(
            wait_until, lambda: port_file.exists() and port_file.read_text().split("\n")[0], "the browser is up"
        )
        async with aiohttp.ClientSession() as http:
            async with http.get(f"http://127.0.0.1:{port}/json/list") as answer:
                (page, *_) = [target for target in await answer.json() if target["type"] == "page"]
            async with http.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as connection:
                yield Browser(connection)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def test_a_sessions_page_shows_its_status_its_scores_and_its_calls_by_name(
    running: tuple[str, str], tmp_path: Path
) -> None:
    address, name = running
    async with browser(tmp_path) as page:
        await page.open(address)
        await page.see(
            name.replace("/", " / "),
            r"analysis, running: \d+ of 120 analyses done, \d+ in flight; 0\.0000 USD",
            r"\d{3} address-\d{5}/lexicon/run-1( \d\.\d\d| –){10}",
            "speeches: 120 analyses with offline/lexicon",
        )
        batch = f"{address.partition('/workflows/')[0]}/workflows/{quote(f'{name}/batch-001', safe='')}"
        await page.open(batch)
        await page.see("Pending Activities 10")
        await page.click("Pending Activities")
        await page.see(r"Activity ID analyse/address-\d{5}/lexicon/run-\d/\d{3}")


async def test_the_list_shows_sessions_by_name_with_what_they_are(running: tuple[str, str], tmp_path: Path) -> None:
    address, name = running
    async with browser(tmp_path) as page:
        await page.open(f"{address.partition('/workflows/')[0]}/workflows")
        await page.see(f"Running.*{name}")
