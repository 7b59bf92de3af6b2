"""The team's proxy as it is run: two LiteLLM processes on one Redis, a fake vendor behind them, a webhook beside them.

What stands in ``deploy/litellm`` is what runs; the tests' own are the users, a few models, and shorter times.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import yaml

from tests.fake_vendor import NOT_A_KEY, FakeVendor
from tests.running import REPOSITORY, wait_until

FOLDER = REPOSITORY / "deploy" / "litellm"
PYTHON = Path(os.environ.get("DISCERNUS_PROXY_PYTHON", FOLDER / ".venv" / "bin" / "python"))
STARTS_WITHIN_S = 180.0
TEXT = "Nobody but its author has ever read this sentence."
MASTER_KEY = "sk-master-of-the-proxy-in-tests"
ALLOWED_FAILS, COOLDOWN_S = 2, 4


def why_not_here() -> str | None:
    """Return what is missing on this machine, with the cure; None if the proxy can be run."""
    if shutil.which("redis-server") is None:
        return "no redis-server on this machine: apt-get install redis-server"
    if not PYTHON.exists():
        return f"no proxy in {PYTHON}: uv sync --project deploy/litellm --locked, or set DISCERNUS_PROXY_PYTHON"
    return None


@dataclass(frozen=True)
class Said:
    """What the proxy answered."""

    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def retry_after_s(self) -> float | None:
        """The wait that the proxy itself asks for."""
        said = self.headers.get("retry-after")
        return None if said is None else float(said)


class Webhook:
    """A receiver of alerts, in Slack's form."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                said = self.rfile.read(int(self.headers["Content-Length"]))
                webhook.texts.append(json.loads(said)["text"])
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/alerts"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Lab:
    """The running whole; ``users`` are given as in the file, but for their keys, which stand in ``keys`` by name."""

    folder: Path
    vendor: FakeVendor
    webhook: Webhook
    redis: subprocess.Popen[bytes]
    urls: tuple[str, str]
    keys: dict[str, str] = field(default_factory=dict)
    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    client: httpx.Client = field(default_factory=lambda: httpx.Client(trust_env=False, timeout=60))

    def let_in(self, name: str, **rights: Any) -> None:
        """Put a user into the file, or change what the user may do; the key stays."""
        self.keys.setdefault(name, f"sk-{secrets.token_urlsafe(32)}")
        self.users[name] = {"key_sha256": [sha256(self.keys[name].encode()).hexdigest()], "models": ["*"], **rights}
        new = self.folder / "users.new"
        new.write_text(yaml.safe_dump({"users": self.users}))
        new.replace(self.folder / "users.yaml")

    def ask(
        self,
        user: str | None,
        model: str = "openai/scribe",
        *,
        by: int = 0,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
        **parameters: Any,
    ) -> Said:
        """Return what a proxy (the first or the second, by number) answers to this user, or to who sends that key."""
        messages = [{"role": "user", "content": TEXT}]
        answer = self.client.post(
            f"{self.urls[by]}/chat/completions",
            headers={**self._authorization(user), **(headers or {})},
            json={"model": model, "messages": messages, "max_tokens": 50, **parameters},
            timeout=timeout_s,
        )
        return Said(answer.status_code, answer.headers, answer.text)

    def get(self, path: str, user: str | None = None, *, by: int = 0) -> Said:
        """Return what is answered at a path."""
        answer = self.client.get(f"{self.urls[by]}{path}", headers=self._authorization(user))
        return Said(answer.status_code, answer.headers, answer.text)

    def _authorization(self, user: str | None) -> dict[str, str]:
        return {} if user is None else {"Authorization": f"Bearer {self.keys.get(user, user)}"}

    def asked(self, model: str) -> int:
        """Return how many requests to this model have reached the vendor."""
        return sum(f"{request.vendor}/{request.model}" == model for request in self.vendor.requests())

    @property
    def requests(self) -> int:
        """How many requests have reached the vendor."""
        return int(self.vendor.stats().get("requests", 0))

    @property
    def answers(self) -> int:
        """How many answers the vendor has given."""
        return int(self.vendor.stats().get("answers", 0))

    def audit(self, user: str | None = None) -> list[dict[str, Any]]:
        """Return the lines of the audit log, those of one user or all, in order of time."""
        lines = [
            json.loads(line) for path in self.audit_files() for line in path.read_text(encoding="utf-8").splitlines()
        ]
        return sorted((line for line in lines if user in (None, line["user"])), key=lambda line: line["at"])

    def audit_files(self) -> list[Path]:
        return sorted((self.folder / "audit").glob("*.jsonl"))

    def logs(self) -> str:
        """Return what both processes have said."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("proxy-*.log")))


@contextmanager
def lab_running(folder: Path, models: list[dict[str, Any]]) -> Iterator[Lab]:
    """Start everything, and end it; ``models`` are entries of config.yaml's ``model_list``, added to those there."""
    webhook = Webhook()
    redis_port, *ports = _free_ports(3)
    with FakeVendor(folder / "vendor") as vendor:
        redis = _start(folder / "redis.log", ["redis-server", "--port", str(redis_port), "--save", "", "--dir", folder])
        urls = (f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}")
        lab = Lab(folder, vendor, webhook, redis, urls)
        lab.let_in("operator")
        environment = _environment(lab, redis_port)
        config = _config(folder, models)
        processes = [redis]
        try:
            for number, port in enumerate(ports):
                command = [PYTHON, FOLDER / "serve.py", "--config", config, "--host", "127.0.0.1", "--port", str(port)]
                processes.append(_start(folder / f"proxy-{number}.log", command, environment))
            for number, process in enumerate(processes[1:]):
                up = partial(_is_up, lab, number, process)
                wait_until(up, f"proxy {number} serves; see {folder}/proxy-{number}.log", STARTS_WITHIN_S)
            yield lab
        finally:
            for process in processes:
                process.kill()
                process.wait()
            webhook.close()


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process as a machine that shuts down does, and wait for its end."""
    process.send_signal(signal.SIGTERM)
    process.wait(60)


def _is_up(lab: Lab, number: int, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, lab.logs()
    try:
        return lab.get("/health/readiness", by=number).status == 200
    except httpx.TransportError:
        time.sleep(0.2)
        return False


def _config(folder: Path, models: list[dict[str, Any]]) -> Path:
    """Return the configuration that ships, with more models, a breaker that a test can wait for, and a temptation."""
    config = yaml.safe_load((FOLDER / "config.yaml").read_text())
    config["model_list"] += models
    config["router_settings"] |= {"allowed_fails": ALLOWED_FAILS, "cooldown_time": COOLDOWN_S}
    config["router_settings"]["fallbacks"] = [{"openai/scribe": ["gemini/scribe"]}]
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def _environment(lab: Lab, redis_port: int) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(lab.folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        **lab.vendor.env(),
        "LITELLM_MASTER_KEY": MASTER_KEY,
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(redis_port),
        "PROXY_USERS_FILE": str(lab.folder / "users.yaml"),
        "PROXY_AUDIT_DIR": str(lab.folder / "audit"),
        "SLACK_WEBHOOK_URL": lab.webhook.url,
        "DEFAULT_FLUSH_INTERVAL_SECONDS": "1",
    }


def _start(log: Path, command: list[Any], environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    with log.open("wb") as sink:
        return subprocess.Popen(
            list(map(str, command)), env=environment, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL
        )


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def secrets_of(lab: Lab) -> list[str]:
    """Return everything that must be nowhere in what the proxy leaves behind."""
    return [*lab.keys.values(), NOT_A_KEY, MASTER_KEY]
