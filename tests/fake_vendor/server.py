"""What the vendor does with a request: limits, faults, an answer in its own language, and a note in the journal."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.fake_vendor import answers
from tests.fake_vendor.bills import price_of
from tests.fake_vendor.dialects import Dialect, Failure, Finish, Question, Wording, dialect_of
from tests.fake_vendor.faults import BROKEN_WIRE, HELD_BACK, REFUSALS, Chooser, Settings
from tests.fake_vendor.journal import Event, JournalWriter, read_journal
from tests.fake_vendor.limits import Limit, Limiter, Unit
from tests.fake_vendor.prompt_cache import CHARACTERS_A_TOKEN, PromptCache
from tests.fake_vendor.service_account import TOKEN, TOKEN_PATH
from tests.fake_vendor.wire import Connection, Manner, Reply

WRONG_MODEL = "some-other-model-2026-01-01"
BEARER = f"Bearer {TOKEN}"


@dataclass(frozen=True)
class Asked:
    """One request: in which language, what, what the journal says of it, and how often it has come by now."""

    dialect: Dialect
    question: Question
    headers: dict[str, str]
    about: dict[str, Any]
    seen: int

    @property
    def content(self) -> str:
        """Return the hash of what was asked."""
        return str(self.about["content_sha256"])

    @property
    def number(self) -> str:
        """Return the vendor's number for this request."""
        return f"req_{self.about['ordinal']:06d}"

    @property
    def prompt_tokens(self) -> int:
        return sum(len(text) for _, text in self.question.messages) // CHARACTERS_A_TOKEN + 1

    def amount(self, unit: Unit) -> int:
        """Return how much of a limit this request takes."""
        return 1 if unit == "requests" else self.prompt_tokens


class Vendor:
    """All that is behind the wire: settings, limits, what was asked, and the journal of it."""

    def __init__(self, state_dir: Path, settings: Settings) -> None:
        self.path = state_dir / "journal.jsonl"
        self.journal = JournalWriter(self.path)
        self.chooser = Chooser(settings)
        self.limiter = Limiter()
        self.cache = PromptCache()
        self.ordinal = len({entry.ordinal for entry in read_journal(self.path)})
        self.held: list[tuple[Connection, Reply]] = []
        self.stats: Counter[str] = Counter()
        self._use(settings)

    def _use(self, settings: Settings) -> None:
        self.chooser.use(settings)
        self.limiter.use(settings.requests_per_window, settings.tokens_per_window, settings.window_s)

    def serve(self, connection: Connection, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        """Answer one request, now or later."""
        dialect = dialect_of(path)
        if dialect is None or method != "POST":
            self._serve_beside(connection, method, path, body)
            return
        try:
            question = dialect.read(path, json.loads(body))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.stats["unreadable"] += 1
            connection.send_json(
                400, {"error": {"message": f"unreadable request: {error!r}", "type": "invalid_request"}}
            )
            return
        asked = self._note(dialect, question, headers)
        self._later(connection, self._reply(asked), self.chooser.latency_s(asked.content, asked.seen))

    def _note(self, dialect: Dialect, question: Question, headers: dict[str, str]) -> Asked:
        """Write down that a request has come."""
        content = sha256(json.dumps(question.messages, ensure_ascii=False).encode()).hexdigest()
        self.ordinal += 1
        about = {
            "ordinal": self.ordinal,
            "vendor": question.vendor,
            "model": question.model,
            "purpose": answers.purpose_of(question.messages, question.schema),
            "content_sha256": content,
            "idempotency_key": headers.get("idempotency-key"),
        }
        self.journal.append("request", about)
        self.stats["requests"] += 1
        self.stats["in_flight"] += 1
        self.stats["most_in_flight"] = max(self.stats["most_in_flight"], self.stats["in_flight"])
        return Asked(dialect, question, headers, about, self.chooser.seen(f"{question.name}/{content}"))

    def _later(self, connection: Connection, reply: Reply, latency_s: float) -> None:
        if reply.manner == "hang":
            connection.send(reply)
        elif self.chooser.settings.hold:
            self.held.append((connection, reply))
        elif latency_s > 0:
            asyncio.get_running_loop().call_later(latency_s, self._deliver, connection, reply)
        else:
            self._deliver(connection, reply)

    def _deliver(self, connection: Connection, reply: Reply) -> None:
        if self.chooser.settings.hold:
            self.held.append((connection, reply))
        else:
            connection.send(reply)

    def _reply(self, asked: Asked) -> Reply:
        name = asked.question.name
        fault = self.chooser.down(name)
        if fault is None and asked.dialect.name == "vertex_ai" and asked.headers.get("authorization") != BEARER:
            fault = "bad_key"
        if fault is None:
            wait_s = self.limiter.admit(name, asked.prompt_tokens, time.monotonic())
            if wait_s is not None:
                return self._failure(asked, "limiter", kind="rate_limit", wait_s=wait_s)
            fault = self.chooser.fault(asked.about["ordinal"], asked.content, asked.seen, asked.about["purpose"], name)
        if fault == "rate_limit":
            return self._failure(asked, fault, kind=fault, wait_s=self.chooser.settings.retry_after_s)
        if fault in REFUSALS:
            return self._failure(asked, fault, kind=fault)
        if fault == "error_in_200":
            return self._failure(asked, fault, kind="status_502", status=200)
        return self._answer(asked, fault)

    def _failure(
        self, asked: Asked, fault: str, *, kind: str, wait_s: float | None = None, status: int | None = None
    ) -> Reply:
        """Return an error: ``kind`` is what the vendor calls it, ``status`` what stands over it if not its own."""
        model, limits = asked.question.model, self._limits(asked)
        refusal = asked.dialect.refusal(kind)
        refusal = replace(refusal, message=refusal.message.replace("{model}", model))
        exceeded = tuple(limit for limit in limits if limit.remaining < asked.amount(limit.unit))
        wrong = Failure(kind, model, asked.number, refusal, wait_s, exceeded if kind == "rate_limit" else ())
        headers = asked.dialect.headers(asked.number) | asked.dialect.limit_headers(limits)
        if wait_s is not None:
            headers |= asked.dialect.wait_headers(wait_s)
        body = json.dumps(asked.dialect.error(wrong)).encode()
        return Reply(status or refusal.status, headers, body, asked.about, fault)

    def _answer(self, asked: Asked, fault: str | None) -> Reply:
        said = self._said(asked, fault)
        self.limiter.spend(asked.question.name, said.completion_tokens, time.monotonic())
        body = json.dumps(asked.dialect.answer(said), ensure_ascii=False).encode()
        if fault == "malformed":
            body = body[: len(body) // 2]
        elif fault == "empty":
            body = b""
        headers = asked.dialect.headers(asked.number) | asked.dialect.limit_headers(self._limits(asked))
        manner: Manner = fault if fault in BROKEN_WIRE else "whole"  # type: ignore[assignment]
        tokens = {
            "prompt_tokens": said.prompt_tokens,
            "completion_tokens": said.completion_tokens,
            "cached_tokens": said.cached_tokens,
            "reasoning_tokens": said.reasoning_tokens,
        }
        billed = tokens if manner in ("whole", "slow") else {}
        return Reply(200, headers, body, asked.about, fault, manner, self.chooser.settings.slow_s, billed)

    def _said(self, asked: Asked, fault: str | None) -> Wording:
        settings, question = self.chooser.settings, asked.question
        run = asked.about["idempotency_key"] or str(asked.seen)
        text = self.chooser.said() or answers.answer_to(
            question.messages, question.schema, asked.about["purpose"], f"{question.model}/{run}"
        )
        text, finish = self._spoilt(text, fault)
        written = len(answers.REFUSAL if finish == "declined" else text) // CHARACTERS_A_TOKEN
        said = Wording(
            id=f"{asked.content[:16]}{asked.about['ordinal']:06d}",
            model=WRONG_MODEL if fault == "wrong_model" else self.chooser.answering(question.name),
            text=text,
            finish=finish,
            prompt_tokens=asked.prompt_tokens,
            completion_tokens=written + settings.reasoning_tokens,
            cached_tokens=self._cached(asked) if settings.prompt_cache else 0,
            reasoning_tokens=settings.reasoning_tokens,
        )
        price = price_of(question.name, settings.prices)
        return said if price is None else replace(said, cost_usd=price.cost_usd(said))

    def _cached(self, asked: Asked) -> int:
        cached = self.cache.cached_tokens(asked.question.name, asked.question.messages)
        return min(cached, asked.prompt_tokens) if asked.dialect.bills_cached else 0

    def _spoilt(self, text: str, fault: str | None) -> tuple[str, Finish]:
        """Return an answer as the fault leaves it, and why it ended."""
        finish: Finish = "stop"
        if fault in HELD_BACK:
            text, finish = "", fault  # type: ignore[assignment]
        elif fault == "truncated":
            text, finish = text[: len(text) * 3 // 5], "length"
        elif fault == "runaway":
            wanted = self.chooser.settings.runaway_characters
            text, finish = (text + "\n") * (wanted // (len(text) + 1) + 1), "length"
        elif fault == "refusal":
            text = answers.REFUSAL
        elif fault == "prose":
            text = f"Here is my reading of the text.\n\n{text}\n\nI hope this serves your study."
        elif fault == "fenced":
            text = f"```json\n{text}\n```"
        elif fault == "broken":
            text = text.rstrip("} \n") + ","
        return text, finish

    def _limits(self, asked: Asked) -> tuple[Limit, ...]:
        """Return the limits that the vendor tells of."""
        if not self.chooser.settings.limit_headers:
            return ()
        return self.limiter.limits(asked.question.name, time.monotonic())

    def wrote(self, reply: Reply) -> None:
        """Note that a reply is wholly on the wire (or was broken off on purpose)."""
        event: Event = "answer" if reply.tokens else "fault"
        self.stats["in_flight"] -= 1
        self.stats[f"{event}s"] += 1
        if reply.fault:
            self.stats[f"fault {reply.fault}"] += 1
        if reply.status == 429:
            self.stats[f"429 {reply.about['vendor']}/{reply.about['model']}"] += 1
        for name, count in reply.tokens.items():
            self.stats[name] += count
        self.journal.append(event, reply.about, status=reply.status, fault=reply.fault, **reply.tokens)

    def abandoned(self, reply: Reply) -> None:
        """Note that nobody was there any more to take the reply."""
        self.stats["in_flight"] -= 1
        self.stats["abandoned"] += 1
        self.journal.append("abandoned", reply.about, status=reply.status, fault=reply.fault)

    def hung_up(self) -> None:
        """Note that a client waits no longer for what would never have come."""
        self.stats["in_flight"] -= 1

    def _serve_beside(self, connection: Connection, method: str, path: str, body: bytes) -> None:
        """Answer what is asked by the tests, and the token endpoint of Vertex AI."""
        if method == "GET" and path == "/__stats":
            connection.send_json(200, dict(self.stats))
        elif method == "GET" and path == "/__journal":
            connection.send_json(200, [asdict(entry) for entry in read_journal(self.path)])
        elif method == "POST" and path == "/__control":
            self._control(connection, body)
        elif method == "POST" and path == TOKEN_PATH:
            self.stats["token_requests"] += 1
            if self.chooser.settings.revoked:
                said = {"error": "invalid_grant", "error_description": "Invalid grant: account not found"}
                connection.send_json(400, said)
            else:
                connection.send_json(200, {"access_token": TOKEN, "expires_in": 3599, "token_type": "Bearer"})
        else:
            connection.send_json(404, {"error": {"message": f"nothing is served at {path}", "type": "not_found"}})

    def _control(self, connection: Connection, body: bytes) -> None:
        try:
            changes = json.loads(body)
            settings = self.chooser.settings.changed(changes)
        except (ValueError, TypeError) as error:
            connection.send_json(400, {"error": str(error)})
            return
        if changes.get("reset"):
            self.limiter, self.cache = Limiter(), PromptCache()
        self._use(settings)
        held, self.held = ([], self.held) if self.chooser.settings.hold else (self.held, [])
        for waiting, reply in held:
            waiting.send(reply)
        connection.send_json(200, asdict(self.chooser.settings))
