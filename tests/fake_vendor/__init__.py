"""A vendor of language models on loopback, for tests and benchmarks: an own process, faults on command, a journal.

The server lives in ``server``; ``FakeVendor`` here starts one and talks to it.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from tests.fake_vendor.bills import Bill, Prices, bills, price_of
from tests.fake_vendor.journal import Entry, read_journal
from tests.fake_vendor.service_account import LOCATION, PROJECT, TOKEN_PATH, service_account

__all__ = ["Bill", "Entry", "FakeVendor"]

REPOSITORY = Path(__file__).resolve().parents[2]
NOT_A_KEY = "sk-test-not-a-key"


class FakeVendor:
    """A running fake vendor; as a context manager it is started on entry and stopped on leaving.

    ``settings`` are those of ``faults.Settings``: ``FakeVendor(folder, latency_s=0.2, rates={"status_503": 0.1})``.
    It outlives whatever the test kills, and ends with the test's own process, however that ends.
    """

    def __init__(self, state_dir: Path, **settings: Any) -> None:
        self.state_dir = state_dir
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._opener = build_opener(ProxyHandler({}))
        self.base_url = ""

    def __enter__(self) -> FakeVendor:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> FakeVendor:
        """Start the process and wait until it listens."""
        self.state_dir.mkdir(parents=True, exist_ok=True)
        port_file, faults_file = self.state_dir / "port", self.state_dir / "faults.json"
        port_file.unlink(missing_ok=True)
        faults_file.write_text(json.dumps(self._settings))
        command = [
            sys.executable,
            "-m",
            "tests.fake_vendor",
            "--port",
            "0",
            "--state-dir",
            str(self.state_dir.resolve()),
        ]
        command += ["--faults", str(faults_file.resolve()), "--parent", str(os.getpid())]
        with (self.state_dir / "vendor.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log, start_new_session=True)
        atexit.register(self.stop)
        deadline = time.monotonic() + 20
        while not port_file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the fake vendor did not start: {(self.state_dir / 'vendor.log').read_text()}")
            time.sleep(0.01)
        self.base_url = f"http://127.0.0.1:{int(port_file.read_text())}"
        return self

    def stop(self) -> None:
        """Stop the process; what it wrote stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            atexit.unregister(self.stop)

    @property
    def pid(self) -> int:
        """Return the process id of the running vendor."""
        if self._process is None:
            raise RuntimeError("the fake vendor is not running; call start() first")
        return self._process.pid

    def env(self) -> dict[str, str]:
        """Return the variables by which LiteLLM finds this vendor, under each of the names it plays but Vertex AI."""
        return {
            "OPENAI_API_KEY": NOT_A_KEY,
            "OPENAI_API_BASE": f"{self.base_url}/v1",
            "OPENAI_BASE_URL": f"{self.base_url}/v1",
            "ANTHROPIC_API_KEY": NOT_A_KEY,
            "ANTHROPIC_API_BASE": self.base_url,
            "GEMINI_API_KEY": NOT_A_KEY,
            "GEMINI_API_BASE": f"{self.base_url}/v1beta",
            "OPENROUTER_API_KEY": NOT_A_KEY,
            "OPENROUTER_API_BASE": f"{self.base_url}/api/v1",
            "HOSTED_VLLM_API_BASE": f"{self.base_url}/vllm/v1",
            "OLLAMA_API_BASE": self.base_url,
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def vertex_env(self) -> dict[str, str]:
        """Return the variables by which LiteLLM finds Vertex AI here; needs google-auth, and makes a key (0.1 s)."""
        account = self.state_dir.resolve() / "service_account.json"
        account.write_text(json.dumps(service_account(f"{self.base_url}{TOKEN_PATH}")))
        return {
            "VERTEXAI_PROJECT": PROJECT,
            "VERTEXAI_LOCATION": LOCATION,
            "VERTEXAI_API_BASE": self.base_url,
            "GOOGLE_APPLICATION_CREDENTIALS": str(account),
        }

    def control(self, **changes: Any) -> dict[str, Any]:
        """Change settings from now on; return those in force.

        ``reset=True`` starts from the defaults, and forgets what limits have counted and caches have seen.
        """
        return dict(self._ask("/__control", changes))

    def stats(self) -> dict[str, int]:
        """Return the counts so far: requests, in_flight, answers, faults, "429 openai/scribe", tokens, …"""
        return dict(self._ask("/__stats"))

    def journal(self) -> list[Entry]:
        """Return everything that happened on the wire, in order; also after the vendor has stopped."""
        if self._process is not None and self._process.poll() is None:
            self.stats()  # answered after whatever a client has already received was noted
        return read_journal(self.state_dir / "journal.jsonl")

    def requests(self, purpose: str | None = None) -> list[Entry]:
        """Return the requests that arrived, in order, of one purpose or all."""
        return [entry for entry in self.journal() if entry.event == "request" and purpose in (None, entry.purpose)]

    def answers(self, purpose: str | None = None) -> list[Entry]:
        """Return the answers that were wholly written: what a vendor would bill."""
        return [entry for entry in self.journal() if entry.event == "answer" and purpose in (None, entry.purpose)]

    def billed(self) -> dict[str, Bill]:
        """Return the vendor's bill by model (vendor/model): every answer that was wholly written, whatever it said."""
        return bills(self.answers())

    def cost_usd(self, prices: Prices) -> float:
        """Return what all of that costs; KeyError if a model that was used has no price.

        ``prices`` give each model ``input_usd``, ``output_usd`` and, if it differs, ``cached_input_usd``, per token.
        """
        total = 0.0
        for name, bill in self.billed().items():
            price = price_of(name, prices)
            if price is None:
                raise KeyError(f"model '{name}' has no price")
            total += price.cost_usd(bill)
        return total

    def wait_for(self, *, requests: int = 0, answers: int = 0, timeout_s: float = 30.0) -> dict[str, int]:
        """Return the counts as soon as so many requests have come and answers gone; TimeoutError after that time."""
        deadline = time.monotonic() + timeout_s
        while True:
            counts = self.stats()
            if counts.get("requests", 0) >= requests and counts.get("answers", 0) >= answers:
                return counts
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {timeout_s} s for {requests} requests and {answers} answers; got {counts}")
            time.sleep(0.01)

    def _ask(self, path: str, said: dict[str, Any] | None = None) -> Any:
        data = None if said is None else json.dumps(said).encode()
        try:
            with self._opener.open(Request(self.base_url + path, data=data), timeout=10) as answer:
                return json.loads(answer.read())
        except HTTPError as error:
            raise ValueError(json.loads(error.read())["error"]) from None
