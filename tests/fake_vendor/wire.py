"""HTTP written on asyncio's protocols: light, for the vendor shares the machine with what it tests."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal, Protocol

PIECES = 20  # of a slow reply
Manner = Literal["whole", "connection", "hang", "reset", "slow"]


@dataclass(frozen=True)
class Reply:
    """What goes back to one request, and how.

    ``manner``: whole; ``connection`` (broken without a word), ``hang`` (never), ``reset`` (half of it, then broken),
    ``slow`` (over ``slow_s`` seconds). ``tokens`` are what is billed, by their names in the journal; empty: nothing is.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    about: dict[str, Any]  # the request's fields in the journal
    fault: str | None = None
    manner: Manner = "whole"
    slow_s: float = 0.0
    tokens: dict[str, int] = field(default_factory=dict)


class Server(Protocol):
    """What answers requests, and is told what became of its replies."""

    def serve(self, connection: Connection, method: str, path: str, headers: dict[str, str], body: bytes) -> None: ...
    def wrote(self, reply: Reply) -> None: ...
    def abandoned(self, reply: Reply) -> None: ...
    def hung_up(self) -> None: ...


class Connection(asyncio.Protocol):
    """One client's connection, kept alive; its requests are answered one after the other."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._received = bytearray()
        self._busy = False
        self._hangs = False
        self._close_after = False
        self._unwritten: Reply | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=0)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._hangs:
            self._server.hung_up()
        if self._unwritten is not None:
            self._server.abandoned(self._unwritten)
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
        self._server.serve(self, method, path, headers, body)

    def send_json(self, status: int, said: Any) -> None:
        """Answer what is no model's business."""
        self._transport.write(_framed(status, {}, json.dumps(said).encode()))
        self._done()

    def send(self, reply: Reply) -> None:
        """Put a model's reply on the wire in its manner, and have it noted."""
        if self._transport.is_closing():
            self._server.abandoned(reply)
            return
        framed = _framed(reply.status, reply.headers, reply.body)
        if reply.manner == "hang":
            self._hangs = True
        elif reply.manner == "connection":
            self._server.wrote(reply)
            self._break()
        elif reply.manner == "reset":
            self._transport.write(framed[: len(framed) - len(reply.body) // 2])
            self._server.wrote(reply)
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
            self._server.wrote(reply)
            self._done()

    def _send_slowly(self, reply: Reply, rest: bytes, pieces: int = PIECES) -> None:
        if self._transport.is_closing():
            self._server.abandoned(reply)
        elif pieces == 1:
            self._send_last(reply, rest)
        else:
            piece = len(rest) // pieces
            self._transport.write(rest[:piece])
            pause_s = reply.slow_s / PIECES
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
