"""Google's language, on both of its addresses: no header tells of limits, and the time to wait stands in the body."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from tests.fake_vendor.dialects.dialect import Dialect, Failure, Question, Refusal, Wording, text_of
from tests.fake_vendor.limits import Limit

STATES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"} | {
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
FINISH_REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "safety": "SAFETY", "declined": "PROHIBITED_CONTENT"}
GOOGLE = "type.googleapis.com/google.rpc."
OUT_OF_QUOTA = "You exceeded your current quota, please check your plan and billing details."


class Gemini(Dialect):
    """The Gemini API of Google AI Studio."""

    name = "gemini"
    path = re.compile(r"/models/(?P<model>[^/:]+):generateContent$")
    refusals: ClassVar[Mapping[str, Refusal]] = {
        "rate_limit": Refusal(429, "", OUT_OF_QUOTA),  # in the same words as a quota for the day: its id tells
        "quota": Refusal(429, "", OUT_OF_QUOTA),
        "bad_key": Refusal(400, "API_KEY_INVALID", "API key not valid. Please pass a valid API key."),
        "no_permission": Refusal(
            403, "SERVICE_DISABLED", "Generative Language API has not been used in project 1 before or it is disabled."
        ),
        "unknown_model": Refusal(
            404, "", "models/{model} is not found for API version v1beta, or is not supported for generateContent."
        ),
        "context_length": Refusal(
            400, "", "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
        ),
        "overloaded": Refusal(503, "", "The model is overloaded. Please try again later."),
        "bad_request": Refusal(400, "", "Unable to submit request because it has a temperature value of 7.0."),
    }

    def read(self, path: str, body: dict[str, Any]) -> Question:
        found = self.path.search(path.partition("?")[0])
        if found is None:
            raise ValueError("no model in the path")
        messages = [(_role(content), text_of(content["parts"])) for content in body["contents"]]
        instruction = body.get("systemInstruction") or body.get("system_instruction")
        if instruction:
            messages.insert(0, ("system", text_of(instruction["parts"])))
        config = body.get("generationConfig") or {}
        schema = config.get("responseSchema") or config.get("response_json_schema")
        return Question(self.name, found["model"], messages, schema)

    def answer(self, said: Wording) -> dict[str, Any]:
        body = {"usageMetadata": _usage(said) | self.tier(), "modelVersion": said.model, "responseId": said.id}
        if said.finish == "content_filter":
            return {"promptFeedback": {"blockReason": "SAFETY"}, **body}
        candidate: dict[str, Any] = {"finishReason": FINISH_REASONS[said.finish], "index": 0}
        if said.finish == "safety":
            candidate["safetyRatings"] = [
                {"category": "HARM_CATEGORY_HARASSMENT", "probability": "HIGH", "blocked": True}
            ]
        elif said.finish != "declined":
            candidate["content"] = {"role": "model", "parts": [{"text": said.text}]}
        return {"candidates": [candidate], **body}

    def tier(self) -> dict[str, Any]:
        """Return what the usage tells of the kind of service."""
        return {}

    def error(self, wrong: Failure) -> Any:
        refusal = wrong.refusal
        error: dict[str, Any] = {"code": refusal.status, "message": refusal.message}
        error["status"] = STATES.get(refusal.status, "INTERNAL" if refusal.status >= 500 else "FAILED_PRECONDITION")
        details = self.details(wrong)
        if refusal.code:
            details.append({"@type": f"{GOOGLE}ErrorInfo", "reason": refusal.code, "domain": "googleapis.com"})
        if wrong.wait_s is not None:
            details.append({"@type": f"{GOOGLE}RetryInfo", "retryDelay": f"{round(wrong.wait_s, 3):g}s"})
        return {"error": error | ({"details": details} if details else {})}

    def details(self, wrong: Failure) -> list[dict[str, Any]]:
        """Return which quota was exceeded."""
        if wrong.kind not in ("rate_limit", "quota"):
            return []
        every = "Minute" if wrong.kind == "rate_limit" else "Day"
        violations = [_violation(wrong.model, every, limit) for limit in wrong.limits or (None,)]
        return [{"@type": f"{GOOGLE}QuotaFailure", "violations": violations}]

    def headers(self, number: str) -> dict[str, str]:
        return {"x-gemini-service-tier": "standard"}

    def wait_headers(self, wait_s: float) -> dict[str, str]:
        return {}


class VertexAI(Gemini):
    """The same models on Google Cloud: a project and a place in the path, and a token that expires as the key."""

    name = "vertex_ai"
    path = re.compile(r"/projects/[^/]+/locations/[^/]+/publishers/google/models/(?P<model>[^/:]+):generateContent$")
    refusals: ClassVar[Mapping[str, Refusal]] = {
        **Gemini.refusals,
        "rate_limit": Refusal(429, "", "Resource exhausted. Please try again later."),
        "quota": Refusal(
            403,
            "BILLING_DISABLED",
            "This API method requires billing to be enabled. Please enable billing on project 1.",
        ),
        "bad_key": Refusal(401, "ACCESS_TOKEN_EXPIRED", "Request had invalid authentication credentials."),
        "no_permission": Refusal(
            403, "IAM_PERMISSION_DENIED", "Permission 'aiplatform.endpoints.predict' denied on resource '{model}'."
        ),
        "unknown_model": Refusal(
            404, "", "Publisher Model `{model}` was not found or your project does not have access to it."
        ),
    }

    def answer(self, said: Wording) -> dict[str, Any]:
        return {**super().answer(said), "createTime": datetime.now(UTC).isoformat().replace("+00:00", "Z")}

    def tier(self) -> dict[str, Any]:
        return {"trafficType": "ON_DEMAND"}

    def details(self, wrong: Failure) -> list[dict[str, Any]]:
        return []

    def headers(self, number: str) -> dict[str, str]:
        return {}


def _role(content: dict[str, Any]) -> str:
    return "assistant" if content.get("role") == "model" else "user"


def _usage(said: Wording) -> dict[str, Any]:
    usage = {
        "promptTokenCount": said.prompt_tokens,
        "candidatesTokenCount": said.completion_tokens - said.reasoning_tokens,
        "totalTokenCount": said.total_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": said.prompt_tokens}],
    }
    if said.cached_tokens:
        usage["cachedContentTokenCount"] = said.cached_tokens
    if said.reasoning_tokens:
        usage["thoughtsTokenCount"] = said.reasoning_tokens
    return usage


def _violation(model: str, every: str, limit: Limit | None) -> dict[str, Any]:
    what = "InputTokens" if limit is not None and limit.unit == "tokens" else "Requests"
    violation: dict[str, Any] = {
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_paid_tier_requests",
        "quotaId": f"Generate{what}Per{every}PerProjectPerModel",
        "quotaDimensions": {"location": "global", "model": model},
    }
    return violation if limit is None else {**violation, "quotaValue": str(limit.allowed)}
