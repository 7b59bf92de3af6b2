"""The keys of models.yaml, and what may be written after each: its description is what a message tells to write."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

_DEAREST = 0.01  # USD per token; above it somebody wrote the price of a million


def _as_number(value: Any) -> Any:
    """Return a number that YAML takes for text because it has an exponent and no point: 3e-7."""
    is_number = isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?[eE][-+]?\d+", value)
    return float(value) if is_number else value


_Number = Annotated[float, BeforeValidator(_as_number)]
_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


def _positive(example: str) -> Any:
    return Field(default=None, gt=0, description=f"a number above 0, such as {example}")


def _count(example: str) -> Any:
    return Field(default=None, ge=1, description=f"a whole number of at least 1, such as {example}")


def _price(example: str) -> Any:
    cure = f"US dollars for a single token, such as {example}: a price per million, divided by 1,000,000"
    return Field(default=None, ge=0, lt=_DEAREST, description=cure)


def _switch() -> Any:
    return Field(default=None, description="true or false")


class Written(BaseModel):
    """Keys of one place in the file; None is a key that is not written, or has nothing after it."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class ModelForm(Written):
    """What may be written of one model."""

    requests_per_minute: _Number | None = _positive("600")
    tokens_per_minute: _Number | None = _positive("2000000")
    in_flight: int | None = _count("20")
    model_timeout: _Number | None = _positive("600, in seconds")
    input_cost_per_token: _Number | None = _price("3e-7")
    output_cost_per_token: _Number | None = _price("2.5e-6")
    cached_input_cost_per_token: _Number | None = _price("7.5e-8")
    max_input_tokens: int | None = _count("131072")
    max_output_tokens: int | None = _count("8192")
    region: _Text | None = Field(default=None, description="text, such as eu or europe-west4, in quotes if need be")
    retention: _Text | None = Field(default=None, description="text, such as none or 30 days, in quotes if need be")
    answers_as: list[_Text] | None = Field(default=None, description="a list of names: [<model>]")


class GeneralForm(Written):
    """What may be written for all models."""

    fallback_models: Any = None
    enable_model_fallback: bool | None = _switch()
    model_failure_threshold: int | None = _count("3")
    model_timeout: _Number | None = _positive("300, in seconds")
    health_check_interval: _Number | None = _positive("60, in seconds")
    enable_health_monitoring: bool | None = _switch()
    quarantine_duration: _Number | None = _positive("300, in seconds")
    models: Any = None


GENERAL_KEYS = tuple(GeneralForm.model_fields)
MODEL_KEYS = tuple(ModelForm.model_fields)
PRICE_KEYS = ("input_cost_per_token", "output_cost_per_token", "cached_input_cost_per_token")
