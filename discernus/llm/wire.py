"""What really goes over the wire: one request per call, seen whole with its reply, under all of LiteLLM's adapters.

LiteLLM has no setting for this. Where a connection is reset it posts again by itself, and the vendor may be paid twice
(Anthropic, Gemini and others; OpenAI not); nor does it keep an exact copy of OpenAI's replies. So we stand in the one
method that every adapter's bytes pass through, of each class of transport that LiteLLM may be told to use.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

LARGEST_REPLY = 64_000_000  # bytes: beyond it a server sends without end, and would take all of our memory
_UNSENT = ("ClientConnectorError", "ConnectionTimeoutError", "ConnectTimeout", "PoolTimeout")

_Send = Callable[[Any, Any], Awaitable[Any]]


class ReplyTooLarge(Exception):
    """A reply that goes on beyond all sense."""


@dataclass
class Exchange:
    """One call on the wire: its request and its reply (httpx objects, the reply read to its end), or why there is none.

    ``sent`` is False while surely nothing has gone out. ``broken_off`` is what came of a reply that never ended.
    """

    request: Any = None
    response: Any = None
    broken_off: Any = None
    failure: Exception | None = None
    sent: bool = False
    _asked: set[tuple[str, str]] = field(default_factory=set)

    @property
    def received(self) -> str | None:
        """Return the reply's body, as much as came of it; None if nothing did."""
        reply = self.response if self.response is not None else self.broken_off
        return None if reply is None else str(reply.text)

    def asks_again(self, request: Any) -> bool:
        """Return whether this call has posted to that address before; take note that it has."""
        place = (request.method, str(request.url))
        again = request.method == "POST" and place in self._asked
        self._asked.add(place)
        return again


_current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


@contextmanager
def watched() -> Iterator[Exchange]:
    """Yield the record of what the calls inside this block send and receive."""
    exchange = Exchange()
    token = _current.set(exchange)
    try:
        yield exchange
    finally:
        _current.reset(token)


def install(transport_class: Any) -> None:
    """Stand in the ``handle_async_request`` of that class of transports; once per process."""
    send: _Send = transport_class.handle_async_request

    async def handle_async_request(transport: Any, request: Any) -> Any:
        exchange = _current.get()
        if exchange is None:
            return await send(transport, request)
        if exchange.asks_again(request):
            return _same_again(exchange, request)
        return await _send_watched(exchange, send, transport, request)

    transport_class.handle_async_request = handle_async_request


async def _send_watched(exchange: Exchange, send: _Send, transport: Any, request: Any) -> Any:
    import httpx

    exchange.request, exchange.response, exchange.broken_off, exchange.failure = request, None, None, None
    sent_before, exchange.sent = exchange.sent, True
    chunks: list[bytes] = []
    response = None
    try:
        response = await send(transport, request)
        await _read(response, chunks)
    except BaseException as failure:  # a time-out cancels: what came until then is kept as well
        if response is not None:
            exchange.broken_off = _response(response, b"".join(chunks), request)
        if isinstance(failure, Exception):
            exchange.failure = failure
            exchange.sent = sent_before or not _never_left(failure)
        raise
    raw = b"".join(chunks)
    exchange.response = _response(response, raw, request)
    return httpx.Response(response.status_code, headers=response.headers, stream=httpx.ByteStream(raw), request=request)


async def _read(response: Any, chunks: list[bytes]) -> None:
    """Put the whole reply into ``chunks``, piece by piece as it comes."""
    size = 0
    async for chunk in response.aiter_raw():
        chunks.append(chunk)
        size += len(chunk)
        if size > LARGEST_REPLY:
            raise ReplyTooLarge(f"the reply had not ended after {LARGEST_REPLY // 1_000_000} MB")


def _response(response: Any, raw: bytes, request: Any) -> Any:
    """Return a reply's copy, read and decoded; as bytes, where they are not in the encoding that its headers name."""
    import httpx

    try:
        return httpx.Response(response.status_code, headers=response.headers, content=raw, request=request)
    except httpx.DecodingError:
        return httpx.Response(response.status_code, content=raw, request=request)


def _same_again(exchange: Exchange, request: Any) -> Any:
    """Answer a repeated request with the outcome of the first."""
    import httpx

    if exchange.failure is not None:
        raise exchange.failure
    first = exchange.response
    headers = [(name, value) for name, value in first.headers.items() if name != "content-encoding"]
    return httpx.Response(first.status_code, headers=headers, stream=httpx.ByteStream(first.content), request=request)


def _never_left(failure: BaseException) -> bool:
    """Return whether no connection was ever made, so that nothing can have been received."""
    link: BaseException | None = failure
    while link is not None:
        if any(parent.__name__ in _UNSENT for parent in type(link).__mro__):
            return True
        link = link.__cause__
    return False
