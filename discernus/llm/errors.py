"""What can go wrong with a call, told apart by status and body, and never by the class of an exception.

CallFailed
├── transient ─ the same call may succeed later: wait, then try again
│   ├── timeout            no answer in the time allowed, 408, 504        retry
│   ├── connection_error   refused, reset or cut off                      retry
│   ├── rate_limit         429                                            wait as told; uses up no attempt
│   ├── overload           529, or 500–503 that say so                    wait as told; uses up no attempt
│   ├── server_error       409, 425, 499 (it gave the call up), 5xx       retry
│   ├── malformed_answer   200 without an answer in it                    retry
│   ├── generation_error   the server says that generating failed         retry
│   ├── quarantine         left alone after failures; nothing was sent    wait; uses up no attempt
│   └── unknown_error      nothing we know                                retry
├── recoverable ─ the same call will fail again, another may succeed
│   ├── context_too_long   413, or 400 or 429 that says so                model with a larger context
│   ├── truncated          stopped at the limit of its output             used as far as it can be read (1)
│   ├── invalid_structure  not what the contract asks for                 used as far as it can be read (1)
│   ├── refusal            refused, or held back by a safety filter       another model, or park
│   ├── runaway            ran on without end                             used as far as it can be read (1)
│   ├── substitution       another model answered                         refuse, or record
│   └── memory_error       the model's server is out of memory            smaller model, or park
└── permanent ─ no call will succeed until a person does something
    ├── authentication     no key, or a wrong one: 401                    stop the session
    ├── quota              paid up to the limit, or the day's: 402        stop the session
    ├── permission         403                                            park
    ├── model_not_found    404, or a name that no vendor has              park
    ├── bad_request        400, 415, 422                                  park
    └── budget             our own limit, or a proxy's                    stop the session

*Retry* waits 1 s, 2 s, 4 s … with jitter, up to a cap, and is counted; *as told* is the vendor's own delay, from a
header (its own, or a proxy's copy of it), from Vertex's body, or from the words of the message.

(1) An answer in which any score can be read is used, and marked: its other scores are missing. Only where no score at
all can be read, or nothing came, it is asked again with a correction, then read by a second model, another one, or
parked.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal, TypedDict, Unpack

from discernus.llm.calls import SeenLimits, Usage
from discernus.llm.limits_seen import duration_s
from discernus.llm.secrets import redact

Kind = Literal["transient", "recoverable", "permanent"]
ErrorClass = Literal[
    "timeout",
    "connection_error",
    "rate_limit",
    "overload",
    "server_error",
    "malformed_answer",
    "generation_error",
    "quarantine",
    "unknown_error",
    "context_too_long",
    "truncated",
    "invalid_structure",
    "refusal",
    "runaway",
    "substitution",
    "memory_error",
    "authentication",
    "quota",
    "permission",
    "model_not_found",
    "bad_request",
    "budget",
]

RECOVERABLE = frozenset(
    {"context_too_long", "truncated", "invalid_structure", "refusal", "runaway", "substitution", "memory_error"}
)
PERMANENT = frozenset({"authentication", "quota", "permission", "model_not_found", "bad_request", "budget"})
UNCOUNTED = frozenset({"rate_limit", "overload", "quarantine"})
STOPPING = frozenset({"authentication", "quota", "budget"})
SHORT_WAIT_S = 900.0  # a wait of the vendor's that is worth it: a longer one is a matter for a person
LONGEST_BODY = 1_000_000  # bytes of an error's body that are kept; that of a paid reply is kept whole

_CURES: Final[Mapping[ErrorClass, str]] = {
    "timeout": "it is tried again; if it stays slow, raise LLM_RESPONSE_TIMEOUT",
    "connection_error": "it is tried again; if it lasts, check the network and the model's address",
    "rate_limit": "it waits and tries again; a lower --concurrency provokes fewer of these",
    "overload": "it waits and tries again",
    "server_error": "it is tried again",
    "malformed_answer": "it is tried again; if it lasts, check that the address is that of a model",
    "generation_error": "it is tried again",
    "quarantine": "it waits until the model has recovered",
    "unknown_error": "it is tried again; if it lasts, the body of the answer says more",
    "context_too_long": "use a model with a larger context, or shorter texts",
    "truncated": "raise max_tokens for this model",
    "invalid_structure": "where nothing of it can be read, it is asked again with a correction",
    "refusal": "use another model for this text",
    "runaway": "where nothing of it can be read, it is asked again; a lower max_tokens makes this cheaper",
    "substitution": "name the model that answered, or allow substitution in the experiment",
    "memory_error": "use a smaller model, or give its server more memory",
    "authentication": "set a valid key, or run with --models offline/lexicon",
    "quota": "add credit or wait for the quota to be renewed, then run the same command again",
    "permission": "ask the vendor for access to this model, or use another",
    "model_not_found": "check the model's name",
    "bad_request": "check the model's parameters in the experiment",
    "budget": "raise the budget, then run the same command again",
}


@dataclass(frozen=True)
class Reply:
    """An HTTP response that was an error or held no answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: str


class Circumstances(TypedDict, total=False):
    """What else is known of a failed call: what it may have cost, what was sent, how long it took; see CallFailed."""

    usage: Usage | None
    cost_usd: float | None
    price_source: str | None
    request_as_sent: dict[str, Any] | None
    started_at: datetime
    latency_ms: float
    limits: SeenLimits | None


class CallFailed(Exception):
    """A call that gave no answer: what it was, whether it may have been paid for, and what helps."""

    def __init__(
        self,
        error_class: ErrorClass,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        sent: bool = True,
        body: str | None = None,
        usage: Usage | None = None,
        cost_usd: float | None = None,
        price_source: str | None = None,
        request_as_sent: dict[str, Any] | None = None,
        started_at: datetime | None = None,
        latency_ms: float | None = None,
        limits: SeenLimits | None = None,
    ) -> None:
        """Keep the message and the body (vendor's words) without secrets; ``sent`` False: surely nothing went out.

        ``usage``, ``cost_usd`` and ``price_source`` are of a reply that was paid for and held no answer, None where
        that is not known; ``request_as_sent``, ``started_at`` (UTC), ``latency_ms`` and ``limits`` as in ModelAnswer.
        """
        self.error_class: Final = error_class
        self.kind: Final = kind_of(error_class)
        self.status: Final = status
        self.retry_after_s: Final = retry_after_s
        self.counts_as_attempt: Final = error_class not in UNCOUNTED
        self.stops_session: Final = error_class in STOPPING
        self.sent: Final = sent
        self.message: Final = redact(message)
        paid = status is not None and status < 300
        self.body: Final = None if body is None else redact(body) if paid else _shorten(redact(body))
        self.usage: Final = usage
        self.cost_usd: Final = cost_usd
        self.price_source: Final = price_source
        self.request_as_sent: Final = request_as_sent
        self.started_at: Final = started_at
        self.latency_ms: Final = latency_ms
        self.limits: Final = limits
        super().__init__(self.message)


def kind_of(error_class: ErrorClass) -> Kind:
    """Return what a failure of that class calls for: waiting, asking otherwise, or a person."""
    if error_class in PERMANENT:
        return "permanent"
    return "recoverable" if error_class in RECOVERABLE else "transient"


def classify(
    exception: BaseException,
    model: str,
    *,
    reply: Reply | None = None,
    sent: bool | None = None,
    missing: tuple[str, ...] = (),
    received: str | None = None,
    **circumstances: Unpack[Circumstances],
) -> CallFailed:
    """Return what the exception of a call to that model means.

    ``reply`` is the HTTP response as seen on the wire, which tells more than the exception; ``sent`` says whether
    anything went out (None: not known, so it may have); ``missing`` names keys that the environment lacks;
    ``received`` is what came of a reply that never ended.
    """
    reply = reply or _reply_in(exception)
    text = reply.body if reply else str(exception)
    status = _status(exception, reply)
    if sent is False and missing:
        return _failed("authentication", model, f"needs {' and '.join(missing)}", sent=False, **circumstances)
    refused = reply is None or reply.status >= 300 or status != reply.status  # else what it says is the model's words
    if not refused:
        error_class: ErrorClass = "malformed_answer"
    else:
        by_words = _class_by_words(_unquoted(text.lower()), status)
        error_class = by_words or (reply is None and _class_by_nature(exception, sent)) or _class_by_status(status)
    told = _told(exception, text)
    if error_class == "timeout" and reply is None:  # what is raised then names a class, or nothing at all
        told = _no_answer_within(circumstances.get("latency_ms"))
    return _failed(
        error_class,
        model,
        told,
        status=status,
        retry_after_s=None if reply is None else retry_after_s(reply.headers, reply.body if refused else ""),
        sent=sent is not False,
        body=received or text or None,
        **circumstances,
    )


def retry_after_s(headers: Mapping[str, str], body: str = "") -> float | None:
    """Return the seconds that the vendor asks to wait: from its headers, a proxy's copy of them, or the body."""
    for name in ("retry-after-ms", "llm_provider-retry-after-ms"):
        if (milliseconds := _number(headers.get(name))) is not None:
            return milliseconds / 1000
    for name in ("retry-after", "llm_provider-retry-after"):
        if value := headers.get(name):
            seconds = _number(value)
            return seconds if seconds is not None else _until(value)
    text = _unquoted(body)
    found = re.search(r'"retryDelay"\s*:\s*"([\d.]+s)"', text) or _TRY_AGAIN_IN.search(text)
    return duration_s(found[1]) if found else None


_TRY_AGAIN_IN: Final = re.compile(
    r"(?:try again|retry) (?:in|after) ((?:\d+(?:\.\d+)?(?:ms|[dhms]))+|\d+(?:\.\d+)?(?= seconds?))", re.IGNORECASE
)
_PER_DAY: Final = re.compile(
    r'"quotaid"\s*:\s*"[a-z]*perday|(?:requests|tokens|images) per day|\((?:rpd|tpd)\)|-per-day\b'
    r"|daily (?:[a-z]+ )?(?:limit|quota)"
)
_WORDS: Final[tuple[tuple[ErrorClass, re.Pattern[str]], ...]] = (
    (
        "budget",
        re.compile(r"budget_exceeded|budget has been exceeded|exceededbudget|over budget|crossed budget"),
    ),
    (
        "quota",
        re.compile(
            r"insufficient_quota|credit balance|billing_hard_limit|billing_not_active|insufficient (?:balance|credits)"
            r"|used all available credits|monthly spending limit|specified api usage limits|key limit exceeded"
            r"|requires billing|billing_disabled"
        ),
    ),
    ("quota", _PER_DAY),  # nothing but the day's end helps, unless it is a rolling one
    (
        "permission",
        re.compile(
            r"not allowed to access model|model_access_denied|location is not supported|unsupported_country"
            r"|region.{0,30}not supported"
        ),
    ),
    (
        "authentication",
        re.compile(r"api_key_invalid|invalid_api_key|incorrect api key|api key not valid|invalid x-api-key"),
    ),
    (
        "context_too_long",
        re.compile(
            r"context_length_exceeded|context length|context window|maximum context|request_too_large|too many tokens"
            r"|prompt is too long|input is too long|input token count|exceed context limit"
        ),
    ),
    (
        "refusal",
        re.compile(
            r"content_policy_violation|content_filter|content filtering policy|content management policy|responsibleai"
            r"|safety system|input was flagged|flagged_input|violating our usage policy"
        ),
    ),
    ("memory_error", re.compile(r"out of memory|more system memory|insufficient memory")),
    (
        "model_not_found",
        re.compile(
            r"model_not_found|llm provider not provided|invalid model name|not a valid model|deploymentnotfound"
            r"|model .{1,120} (?:not found|does not exist)"
        ),
    ),
    ("generation_error", re.compile(r"generation (?:failed|error)|failed to generate|error during generation")),
)
_TOO_LARGE: Final = re.compile(r"request too large for|tokens must be reduced")  # for the limit of a whole minute
_OVERLOADED: Final = re.compile(r"overload|(?:at|over|no) capacity|slow ?down|server busy|maximum pending requests")
_NO_KEY: Final = re.compile(
    r"missing .{0,40}(?:api key|credentials)|missing credentials|api_key client option must be set"
    r"|default credentials were not found|could not refresh access token|invalid_grant"
)


def _class_by_words(text: str, status: int | None) -> ErrorClass | None:
    """Return the class that the vendor's own codes and words give away; only where the call was refused."""
    for error_class, words in _WORDS:
        if words.search(text) and (status != 429 or error_class in ("budget", "quota")):
            return "rate_limit" if words is _PER_DAY and _is_rolling(text) else error_class
    if status in (400, 413, 429) and _TOO_LARGE.search(text):
        return "context_too_long"
    if status in (500, 502, 503) and _OVERLOADED.search(text):
        return "overload"
    return None


def _is_rolling(text: str) -> bool:
    """Return whether a day's limit frees a part of itself soon, as OpenAI's does, and names the wait.

    Google's ends at midnight, and names some seconds all the same.
    """
    found = None if '"quotaid"' in text else _TRY_AGAIN_IN.search(text)
    wait_s = None if found is None else duration_s(found[1])
    return wait_s is not None and wait_s <= SHORT_WAIT_S


def _class_by_nature(exception: BaseException, sent: bool | None) -> ErrorClass | None:
    """Return the class of what came without any reply."""
    if isinstance(exception, MemoryError):
        return "memory_error"
    text = str(exception)
    if _NO_KEY.search(text.lower()):
        return "authentication"
    names = {type(link).__name__ for link in _chain(exception)}
    if "ReplyTooLarge" in names:
        return "runaway"
    if names & {"TimeoutError", "Timeout", "APITimeoutError", "ConnectTimeout", "ReadTimeout", "TimeoutException"}:
        return "timeout"
    if (sent and _status(exception, None) in (None, 500)) or names & _CONNECTION:
        return "connection_error"
    return None


_CONNECTION: Final = frozenset(
    {"APIConnectionError", "ConnectError", "ConnectionError", "ConnectionRefusedError", "NetworkError", "ProtocolError"}
    | {"ProxyError", "ReadError", "RemoteProtocolError", "RequestError", "WriteError"}
)


def _class_by_status(status: int | None) -> ErrorClass:
    if status is None:
        return "unknown_error"
    by_status: dict[int, ErrorClass] = {
        401: "authentication",
        402: "quota",
        403: "permission",
        404: "model_not_found",
        408: "timeout",
        409: "server_error",
        413: "context_too_long",
        425: "server_error",
        429: "rate_limit",
        499: "server_error",
        504: "timeout",
        524: "timeout",
        529: "overload",
    }
    if status in by_status:
        return by_status[status]
    if 400 <= status < 500:
        return "bad_request"
    return "server_error" if status >= 500 else "unknown_error"


def _failed(
    error_class: ErrorClass,
    model: str,
    told: str,
    *,
    status: int | None = None,
    retry_after_s: float | None = None,
    sent: bool,
    body: str | None = None,
    **circumstances: Unpack[Circumstances],
) -> CallFailed:
    where = "" if status is None else f" (status {status})"
    message = f"model '{model}' gave no answer: {error_class}{where}: {told}; {_CURES[error_class]}"
    return CallFailed(
        error_class, message, status=status, retry_after_s=retry_after_s, sent=sent, body=body, **circumstances
    )


def _status(exception: BaseException, reply: Reply | None) -> int | None:
    """Return the status that counts: the wire's, or the one inside a 200 that carries an error, or the exception's."""
    if reply is not None:
        inside = _status_in(reply.body) if reply.status < 300 else None
        return inside or reply.status
    status = getattr(exception, "status_code", None)
    return status if isinstance(status, int) else None


def _status_in(body: str) -> int | None:
    error = _error_in(body)
    code = error.get("code")
    return code if isinstance(code, int) and 400 <= code < 600 else None


def _error_in(body: str) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except ValueError:
        return {}
    data = data[0] if isinstance(data, list) and data else data
    error = data.get("error") if isinstance(data, dict) else None
    return error if isinstance(error, dict) else {}


def _reply_in(exception: BaseException) -> Reply | None:
    """Return the response that an exception carries, where it carries its headers or its body."""
    status = getattr(exception, "status_code", None)
    response = getattr(exception, "response", None)
    headers = dict(getattr(response, "headers", None) or {})
    headers |= dict(getattr(exception, "litellm_response_headers", None) or {})
    body = getattr(exception, "body", None)
    if not isinstance(status, int) or not (headers or body):
        return None
    text = json.dumps({"error": body}, default=str) if isinstance(body, dict) else str(body or exception)
    return Reply(status, {str(name).lower(): str(value) for name, value in headers.items()}, text)


def _told(exception: BaseException, text: str) -> str:
    """Return the vendor's message in one line of at most 300 characters."""
    message = _error_in(text).get("message")
    told = message if isinstance(message, str) and message else text or type(exception).__name__
    told = re.sub(r"\s+", " ", re.sub(r"<[^>]{1,200}>", " ", told)).strip()
    return told if len(told) <= 300 else told[:299] + "…"


def _no_answer_within(latency_ms: float | None) -> str:
    if latency_ms is None:
        return "no answer in the time allowed"
    seconds = latency_ms / 1000
    return f"no answer within {seconds:,.0f} s" if seconds >= 10 else f"no answer within {seconds:.1f} s"


def _chain(exception: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    link: BaseException | None = exception
    while link is not None and link not in links:
        links.append(link)
        link = link.__cause__ or link.__context__
    return links


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else None
    except ValueError:
        return None
    return number if number is not None and 0 <= number < float("inf") else None


def _until(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _unquoted(body: str) -> str:
    """Return a body with the quotation marks of what it quotes: a proxy wraps the vendor's JSON into its own."""
    return body.replace('\\"', '"') if '\\"' in body else body


def _shorten(text: str) -> str:
    data = text.encode()
    if len(data) <= LONGEST_BODY:
        return text
    return f"{data[:LONGEST_BODY].decode(errors='ignore')}… [{len(data)} bytes in all]"
