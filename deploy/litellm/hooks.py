"""What LiteLLM calls back for each request: who is let in, what is refused, what is noted, what the answer carries.

config.yaml names the two it needs, ``user_api_key_auth`` and ``hooks``. LiteLLM executes this module once for each of
them, so that it keeps no state; the users and the audit log live in ``team``.
"""

from __future__ import annotations

import logging
import time
from fnmatch import fnmatchcase
from typing import Any

import litellm
import team
from litellm.exceptions import RateLimitErrorCategory, RateLimitType
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth
from litellm.proxy.common_utils.proxy_rate_limit_error import ProxyRateLimitError
from litellm.types.router import RouterRateLimitError
from users import User

log = logging.getLogger(__name__)

SERVED = ("/chat/completions", "/v1/chat/completions", "/models", "/v1/models")
PARAMETERS = {
    *("temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "stop", "response_format"),
    *("reasoning_effort", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs"),
}
FIELDS = {*("model", "messages", "stream", "fallbacks", "disable_fallbacks", "num_retries"), *PARAMETERS}
FIELDS |= {"metadata"}  # LiteLLM adds its own
ALERT_TYPE = "call_failed"  # config.yaml lists it among the alert_types
MINUTE_S = 60
IN_FLIGHT_WAIT_S = 1  # a call in flight, of the user's or of the model's, may end at any moment
USER_WAIT_S = 5  # the user's minute began with some request, and ends LiteLLM does not say when


# LiteLLM logs each failed call with a traceback, a hundred lines that may quote the vendor; the audit log has a line.
logging.getLogger("LiteLLM Proxy").addFilter(lambda record: "Exception occured" not in record.getMessage())


class BudgetSpent(litellm.BudgetExceededError):  # type: ignore[misc]
    """A user's budget is spent; the type is what the caller reads in the body of the answer."""

    type = "budget_exceeded"


async def user_api_key_auth(request: Any, api_key: str | None) -> UserAPIKeyAuth:
    """Return the rights of the key's holder, under the holder's name: no key goes any further. 401 if nobody has it.

    Only chat completions and the list of models are served: ``/health``, say, would make a paid call for each model.
    """
    name = team.users().holder(api_key or "")
    if name is None:
        raise _refusal(401, "auth_error", "this key belongs to no user of this proxy; ask its operator for one")
    if request.url.path.rstrip("/") not in SERVED:
        raise _refusal(404, "not_found", f"{request.url.path} is not served here; {', '.join(SERVED)} are")
    user = team.users().rights(name)
    return UserAPIKeyAuth(
        api_key=name,
        user_id=name,
        user_role=LitellmUserRoles.INTERNAL_USER,
        rpm_limit=user.requests_per_minute,
        tpm_limit=user.tokens_per_minute,
        max_parallel_requests=user.in_flight,
    )


class Hooks(CustomLogger):  # type: ignore[misc]
    """The stations of a call on its way through the proxy, in the order in which it passes them."""

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any]:
        """Refuse what the user may not ask; else note that the call goes out, and hand it on."""
        name, sent = user_api_key_dict.user_id, data["proxy_server_request"]
        fallbacks = data.get("fallbacks") or []
        _refuse_form(sent["body"], fallbacks)
        user = team.users().rights(name)
        for model in (data["model"], *fallbacks):
            _refuse_model(name, user, model)
        _refuse_spent(name, user)
        call = sent["headers"].get("idempotency-key")
        team.audit_log().append("asked", **_who(name, data), idempotency_key=call)
        data["num_retries"] = 0  # whatever the caller's header says
        if not fallbacks:
            data["disable_fallbacks"] = True
        if call:  # so that the vendor can tell a repetition
            data["extra_headers"] = {"Idempotency-Key": call}
        return data

    async def async_post_call_success_hook(self, data: dict[str, Any], user_api_key_dict: Any, response: Any) -> None:
        """Note who answered and what it took, before the answer is handed over."""
        hidden, usage = response._hidden_params, response.usage
        extra = hidden.get("additional_headers") or {}
        _note_end(
            "answered",
            **_who(user_api_key_dict.user_id, data),
            model_answered=hidden.get("provider_response_model"),
            fallbacks=extra.get("x-litellm-attempted-fallbacks", 0),
            request_id=extra.get("llm_provider-x-request-id") or extra.get("llm_provider-request-id"),
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=getattr(usage.prompt_tokens_details, "cached_tokens", None),
            reasoning_tokens=getattr(usage.completion_tokens_details, "reasoning_tokens", None),
            cost_usd=_cost_usd(hidden.get("response_cost"), data["model"]),
        )

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Exception,
        user_api_key_dict: Any,
        traceback_str: str | None = None,
    ) -> None:
        """Note a call that was refused or failed, and tell the operator, without a word of what was said about it."""
        _mend(original_exception)
        status, error = _status(original_exception), type(original_exception).__name__
        who = _who(user_api_key_dict.user_id, request_data)
        _note_end("failed", **who, status=status, error=error)
        if _concerns_the_operator(original_exception, status):
            await _alert(f"{who['model']} asked by {who['user']}: {status} {error}")
        request_data["wait_s"] = _wait_s(original_exception)

    async def async_post_call_response_headers_hook(
        self, data: dict[str, Any], user_api_key_dict: Any, response: Any, **_: Any
    ) -> dict[str, str]:
        """Return what the answer's body does not tell, the vendor's own name of the model, which LiteLLM overwrites,
        and which parameters the vendor was not sent; for a failure, how long one of the proxy's own limits lasts.
        """
        if response is None:
            return {} if data.get("wait_s") is None else {"retry-after": str(data["wait_s"])}
        hidden = response._hidden_params
        told = {
            "x-provider-response-model": hidden.get("provider_response_model"),
            "x-dropped-parameters": ",".join(_dropped(data, hidden.get("litellm_model_name"))),
        }
        return {header: value for header, value in told.items() if value}


hooks = Hooks()


def _refusal(status: int, kind: str, message: str) -> ProxyException:
    return ProxyException(message, type=kind, param=None, code=status)


def _refuse_form(body: dict[str, Any], fallbacks: Any) -> None:
    """Let nothing through but plain questions: other fields make LiteLLM ask again, or ask others, unaccounted for."""
    if unknown := sorted(set(body) - FIELDS):
        raise _refusal(400, "invalid_request_error", f"not served here: {', '.join(unknown)}; leave it out")
    if body.get("stream"):
        message = "streamed answers are not served here, since they could not be accounted for; ask without stream"
        raise _refusal(400, "invalid_request_error", message)
    models = [body.get("model"), *(fallbacks if isinstance(fallbacks, list) else [None])]
    if not all(isinstance(model, str) and "," not in model for model in models):
        raise _refusal(400, "invalid_request_error", "model has to be one name, and fallbacks a list of names")


def _refuse_model(name: str, user: User, model: str) -> None:
    if not any(fnmatchcase(model, allowed) for allowed in user.models):
        message = f"{name} may not use {model}, but {', '.join(user.models)}; the proxy's file of users says so"
        raise _refusal(403, "permission_error", message)
    if user.budget_usd_per_month is not None and _price_per_token(model) is None:
        message = f"{model} has no price, so that the budget of {name} could not hold; state its price in config.yaml"
        raise _refusal(403, "permission_error", message)


def _refuse_spent(name: str, user: User) -> None:
    spent, budget = team.audit_log().spent_usd(name), user.budget_usd_per_month
    if budget is not None and spent >= budget:
        told = f"{name} has spent {spent:.4f} of {budget:.4f} USD this month: the budget has been exceeded"
        raise BudgetSpent(current_cost=spent, max_budget=budget, message=told)


def _price_per_token(model: str) -> float | None:
    """Return what a token of the prompt costs (USD), None if neither config.yaml nor LiteLLM's table says."""
    from litellm.proxy.proxy_server import llm_router  # it is there once the proxy has read its configuration

    group = llm_router.get_model_group_info(model_group=model)
    price: float | None = None if group is None else group.input_cost_per_token
    return price


def _cost_usd(said: float | None, model: str) -> float | None:
    """Return the cost that LiteLLM worked out; its 0 for a model without a price is nothing that anybody knows."""
    return said if said or _price_per_token(model) is not None else None


def _dropped(data: dict[str, Any], model: str | None) -> list[str]:
    """Return which of the parameters asked for LiteLLM leaves out for this model, as ``drop_params`` has it."""
    taken = litellm.get_supported_openai_params(model=model) if model else None
    return [] if taken is None else sorted(name for name in PARAMETERS if name in data and name not in taken)


def _who(name: str | None, data: dict[str, Any]) -> dict[str, Any]:
    """Return who asked which model, by which number; what somebody unknown has sent is not written down."""
    return {"id": data.get("litellm_call_id"), "user": name, "model": str(data.get("model"))[:100] if name else None}


def _note_end(event: str, **facts: Any) -> None:
    """Note how a call ended; where that cannot be written, the answer, being paid for, is handed over all the same."""
    try:
        team.audit_log().append(event, **facts)
    except OSError as unwritten:
        log.error("the end of call %s is not in the audit log: %s", facts["id"], unwritten)


def _mend(failure: Any) -> None:
    """Give back what LiteLLM loses of a failure: the vendor's own code for it (insufficient_quota), and that an answer
    which cannot be read is no fault of the request.
    """
    body = getattr(failure, "body", None)
    code = (body.get("code") or body.get("type")) if isinstance(body, dict) else None
    if isinstance(code, str):
        failure.type = code
    if "Error converting to valid response block" in str(failure):
        failure.status_code = 502


async def _alert(message: str) -> None:
    """Send a message to the webhook by LiteLLM's own queue; what LiteLLM itself would send may quote an answer."""
    from litellm.proxy.proxy_server import proxy_logging_obj

    alerts = proxy_logging_obj.slack_alerting_instance
    await alerts.send_alert(message=message, level="High", alert_type=ALERT_TYPE, alerting_metadata={})


def _concerns_the_operator(failure: Any, status: int) -> bool:
    """Return whether somebody should look: at a vendor that fails, a key, a quota or a budget; at no mere limit."""
    if isinstance(failure, ProxyException):  # a refusal of ours
        return False
    spent = isinstance(failure, BudgetSpent) or getattr(failure, "type", None) == "insufficient_quota"
    return spent or status >= 500 or status in (401, 402, 403, 404, 408)


def _status(failure: Exception) -> int:
    if isinstance(failure, RouterRateLimitError):  # the model is in cooldown
        return 429
    return int(getattr(failure, "status_code", None) or getattr(failure, "code", None) or 500)


def _wait_s(failure: Exception) -> int | None:
    """Return how long to wait for one of the proxy's own limits, of which LiteLLM says a minute, or nothing."""
    if not isinstance(failure, litellm.RateLimitError):
        return None
    ours = failure.category == RateLimitErrorCategory.LITELLM_RATE_LIMIT
    if ours and failure.rate_limit_type == RateLimitType.CONCURRENT_REQUESTS:
        return IN_FLIGHT_WAIT_S
    if isinstance(failure, ProxyRateLimitError):
        return USER_WAIT_S
    if "Model rate limit exceeded" in str(failure):
        return MINUTE_S - int(time.time()) % MINUTE_S  # it counts by the minute of the clock
    return None
