"""The vendor's HTTP server, written on asyncio's protocols: light, for it shares the machine with what it tests."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tests.fake_vendor import answers, dialects
from tests.fake_vendor.faults import Chooser, Limiter, Settings
from tests.fake_vendor.journal import Event, JournalWriter, read_journal

MESSAGES = {
    "rate_limit": (429, "rate_limit_exceeded", "Rate limit reached; please slow down."),
    "quota": (
        429,
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "context_length": (400, "context_length_exceeded", "This model's maximum context length is 8192 tokens."),
}
REQUEST_ID_HEADER = {
    "openai": "x-request-id",
    "anthropic": "request-id",
    "gemini": "x-request-id",
    "ollama": "x-request-id",
}


@dataclass(frozen=True)
class Reply:
    """What goes back to one request: ``manner`` is whole, hang, reset (half of it, then a broken wire) or slow."""

    status: int
    headers: dict[str, str]
    body: bytes
    about: dict[str, Any]  # the request's fields in the journal
    fault: str | None = None
    manner: str = "whole"
    tokens: dict[str, int] = field(default_factory=dict)


class Vendor:
    """All that is behind the wire: settings, limits, what was asked, and the journal of it."""

    def __init__(self, state_dir: Path, settings: Settings) -> None:
        self.path = state_dir / "journal.jsonl"
        self.journal = JournalWriter(self.path)
        self.chooser = Chooser(settings)
        self.limiter = Limiter()
        self.ordinal = len({entry.ordinal for entry in read_journal(self.path)})
        self.held: list[tuple[Connection, Reply]] = []
        self.stats: Counter[str] = Counter()

    def serve(self, connection: Connection, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        """Answer one request, now or later."""
        vendor = dialects.vendor_of(path)
        if vendor is None or method != "POST":
            self._serve_beside(connection, method, path, body)
            return
        try:
            question = dialects.read(vendor, path, json.loads(body))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.stats["unreadable"] += 1
            connection.send_json(
                400, {"error": {"message": f"unreadable request: {error!r}", "type": "invalid_request"}}
            )
            return
        content = sha256(json.dumps(question.messages, ensure_ascii=False).encode()).hexdigest()
        self.ordinal += 1
        about = {
            "ordinal": self.ordinal,
            "vendor": vendor,
            "model": question.model,
            "purpose": answers.purpose_of(question.messages, question.schema),
            "content_sha256": content,
            "idempotency_key": headers.get("idempotency-key"),
        }
        self.journal.append("request", about)
        self.stats["requests"] += 1
        self.stats["in_flight"] += 1
        self.stats["most_in_flight"] = max(self.stats["most_in_flight"], self.stats["in_flight"])
        seen = self.chooser.seen(f"{question.model}/{content}")
        self._later(connection, self._reply(question, about, seen), self.chooser.latency_s(content, seen))

    def _later(self, connection: Connection, reply: Reply, latency_s: float) -> None:
        if reply.manner == "hang":
            return
        if self.chooser.settings.hold:
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

    def _reply(self, question: dialects.Question, about: dict[str, Any], seen: int) -> Reply:
        settings, vendor = self.chooser.settings, question.vendor
        headers = {REQUEST_ID_HEADER[vendor]: f"req_{about['ordinal']:06d}"}
        if vendor == "openai":
            headers |= {"openai-version": "2020-10-01", "openai-processing-ms": "1"}
        wait, limits = self.limiter.refused_for(question.model, time.monotonic(), settings)
        headers |= limits
        if wait is not None:
            return self._refusal("rate_limit", vendor, headers, about, "limiter", float(wait))
        fault = self.chooser.fault(about["ordinal"], about["content_sha256"], seen, about["purpose"], question.model)
        if fault in MESSAGES or (fault or "").startswith("status_"):
            return self._refusal(str(fault), vendor, headers, about, str(fault), settings.retry_after_s)
        said = self._said(question, about, fault, seen)
        body = json.dumps(dialects.answer(vendor, said), ensure_ascii=False).encode()
        if fault == "malformed":
            body = body[: len(body) // 2]
        elif fault == "empty":
            body = b""
        tokens = {"prompt_tokens": said.prompt_tokens, "completion_tokens": said.completion_tokens}
        manner = fault if fault in ("hang", "reset", "slow") else "whole"
        return Reply(200, headers, body, about, fault, manner, tokens)

    def _refusal(
        self, kind: str, vendor: str, headers: dict[str, str], about: dict[str, Any], fault: str, wait_s: float
    ) -> Reply:
        if kind in MESSAGES:
            status, code, message = MESSAGES[kind]
        else:
            status = int(kind.removeprefix("status_"))
            code = "server_error" if status >= 500 else "invalid_request_error"
            message = "The server is overloaded." if status in (503, 529) else f"This request failed with {status}."
        wrong = dialects.Failure(status, code, message, wait_s if kind == "rate_limit" else None, headers)
        said_headers, said = dialects.failure(vendor, wrong)
        return Reply(status, said_headers, json.dumps(said).encode(), about, fault)

    def _said(
        self, question: dialects.Question, about: dict[str, Any], fault: str | None, seen: int
    ) -> dialects.Wording:
        settings = self.chooser.settings
        run = about["idempotency_key"] or str(seen)
        text = answers.answer_to(question.messages, question.schema, about["purpose"], f"{question.model}/{run}")
        finish: dialects.Finish = "stop"
        if fault == "truncated":
            text, finish = text[: len(text) * 3 // 5], "length"
        elif fault == "runaway":
            text, finish = (text + "\n") * (settings.runaway_characters // (len(text) + 1) + 1), "length"
        elif fault == "content_filter":
            text, finish = "", "content_filter"
        elif fault == "refusal":
            text = answers.REFUSAL
        elif fault == "prose":
            text = f"Here is my reading of the text.\n\n{text}\n\nI hope this serves your study."
        elif fault == "fenced":
            text = f"```json\n{text}\n```"
        elif fault == "broken":
            text = text.rstrip("} \n") + ","
        answering = "some-other-model" if fault == "wrong_model" else question.model
        asked = sum(len(each) for _, each in question.messages)
        identity = f"{about['content_sha256'][:16]}{about['ordinal']:06d}"
        return dialects.Wording(
            identity, answering + settings.model_suffix, text, finish, asked // 4 + 1, len(text) // 4
        )

    def wrote(self, reply: Reply) -> None:
        """Note that a reply is wholly on the wire (or was broken off on purpose)."""
        self.stats["in_flight"] -= 1
        billed = reply.status == 200 and reply.manner != "reset"
        event: Event = "answer" if billed else "fault"
        self.stats[f"{event}s"] += 1
        if reply.fault:
            self.stats[f"fault {reply.fault}"] += 1
        for name, count in reply.tokens.items() if billed else ():
            self.stats[name] += count
        more = reply.tokens if billed else {}
        self.journal.append(event, reply.about, status=reply.status, fault=reply.fault, **more)

    def abandoned(self, reply: Reply) -> None:
        """Note that nobody was there any more to take the reply."""
        self.stats["in_flight"] -= 1
        self.stats["abandoned"] += 1
        self.journal.append("abandoned", reply.about, status=reply.status, fault=reply.fault)

    def _serve_beside(self, connection: Connection, method: str, path: str, body: bytes) -> None:
        if method == "GET" and path == "/__stats":
            connection.send_json(200, dict(self.stats))
        elif method == "GET" and path == "/__journal":
            connection.send_json(200, [asdict(entry) for entry in read_journal(self.path)])
        elif method == "POST" and path == "/__control":
            try:
                self.chooser.use(self.chooser.settings.changed(json.loads(body)))
            except (ValueError, TypeError) as error:
                connection.send_json(400, {"error": str(error)})
                return
            held, self.held = ([], self.held) if self.chooser.settings.hold else (self.held, [])
            for waiting, reply in held:
                waiting.send(reply)
            connection.send_json(200, asdict(self.chooser.settings))
        else:
            connection.send_json(404, {"error": {"message": f"nothing is served at {path}", "type": "not_found"}})


class Connection(asyncio.Protocol):
    """One client's connection, kept alive; its requests are answered one after the other."""

    def __init__(self, vendor: Vendor) -> None:
        self._vendor = vendor
        self._received = bytearray()
        self._busy = False
        self._close_after = False
        self._unwritten: Reply | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=0)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._unwritten is not None:
            self._vendor.abandoned(self._unwritten)
            self._unwritten = None

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._next()

    def _next(self) -> None:
        if self._busy:
            return
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        lines = self._received[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        if "transfer-encoding" in headers:
            self._close_after = True
            self.send_json(411, {"error": {"message": "send a Content-Length", "type": "invalid_request"}})
            return
        length = int(headers.get("content-length", 0))
        if len(self._received) < end + 4 + length:
            return
        body = bytes(self._received[end + 4 : end + 4 + length])
        del self._received[: end + 4 + length]
        method, path, _ = lines[0].split(" ", 2)
        self._busy = True
        self._close_after = headers.get("connection", "").lower() == "close"
        self._vendor.serve(self, method, path, headers, body)

    def send_json(self, status: int, said: Any) -> None:
        """Answer what is no model's business."""
        self._transport.write(_framed(status, {}, json.dumps(said).encode()))
        self._done()

    def send(self, reply: Reply) -> None:
        """Put a model's reply on the wire in its manner, and have it noted."""
        if self._transport.is_closing():
            self._vendor.abandoned(reply)
            return
        framed = _framed(reply.status, reply.headers, reply.body)
        if reply.manner == "reset":
            self._transport.write(framed[: len(framed) - len(reply.body) // 2])
            self._vendor.wrote(reply)
            self._break()
        elif reply.manner == "slow":
            self._send_slowly(reply, framed)
        else:
            self._send_last(reply, framed)

    def _send_last(self, reply: Reply, data: bytes) -> None:
        self._unwritten = reply
        self._transport.write(data)
        if self._transport.get_write_buffer_size() == 0:
            self.resume_writing()

    def resume_writing(self) -> None:
        """The buffer is empty: what was sent is with the kernel, whoever dies now."""
        reply, self._unwritten = self._unwritten, None
        if reply is not None:
            self._vendor.wrote(reply)
            self._done()

    def _send_slowly(self, reply: Reply, rest: bytes, pieces: int = 20) -> None:
        if self._transport.is_closing():
            self._vendor.abandoned(reply)
        elif pieces == 1:
            self._send_last(reply, rest)
        else:
            piece = len(rest) // pieces
            self._transport.write(rest[:piece])
            pause_s = self._vendor.chooser.settings.slow_s / 20
            asyncio.get_running_loop().call_later(pause_s, self._send_slowly, reply, rest[piece:], pieces - 1)

    def _break(self) -> None:
        at_once = struct.pack("ii", 1, 0)
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self._transport.abort()

    def _done(self) -> None:
        self._busy = False
        if self._close_after:
            self._transport.close()
        elif self._received:
            asyncio.get_running_loop().call_soon(self._next)


def _framed(status: int, headers: dict[str, str], body: bytes) -> bytes:
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Overloaded"
    lines = [f"HTTP/1.1 {status} {reason}", "content-type: application/json", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
