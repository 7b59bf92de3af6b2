"""What an experiment is: the question, the models, the repeats, as its author wrote them down in experiment.md."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

OFFLINE_PREFIX = "offline/"
DEFAULT_MODEL = "default"  # as extraction_model or synthesis_model: the installation's list of models for that purpose


class Hypothesis(BaseModel):
    """A hypothesis by name; ``untestable`` says why no test can be made of it (None where one may)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    text: str
    untestable: str | None = None


class ModelSettings(BaseModel):
    """What is asked of one model in every call. Absent means: the vendor's own default is used, and nothing is sent."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, gt=0)
    reasoning: str | None = None  # LiteLLM's reasoning_effort: minimal, low, medium, high
    seed: int | None = None

    def parameters(self) -> dict[str, Any]:
        """Return what is set, under LiteLLM's names."""
        named = self.model_dump(exclude_none=True)
        if "reasoning" in named:
            named["reasoning_effort"] = named.pop("reasoning")
        return named


class DataPolicy(BaseModel):
    """Who may be shown the texts; None restricts nothing. No ``vendors`` at all are the machines of the lab alone.

    ``retention`` is what a vendor may keep of what it is sent. ``sensitivity`` is for the record: it decides nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sensitivity: str | None = None
    vendors: tuple[str, ...] | None = None  # as they stand before the slash of a model's name
    regions: tuple[str, ...] | None = None
    retention: str | None = None


class Experiment(BaseModel):
    """An experiment as read from experiment.md; ``format`` 0 is the older form that runs with warnings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    format: int
    framework_file: str  # relative to the experiment's folder
    corpus: str  # relative to the experiment's folder
    variants: tuple[str, ...]
    models: tuple[str, ...]
    runs_per_model: int
    parameters: dict[str, ModelSettings] = {}  # by model
    fallback_models: dict[str, tuple[str, ...]] = {}  # by model: what serves an analysis that it cannot serve, in order
    allow_substitution: bool = False  # an analysis counts that a vendor or proxy had another model answer
    extraction_model: str | None = None  # or DEFAULT_MODEL
    synthesis_model: str | None = None  # or DEFAULT_MODEL
    hypotheses: tuple[Hypothesis, ...] = ()
    statistical_plan: tuple[dict[str, Any], ...] = ()
    budget_usd: float | None = None
    concurrency: int | None = None
    pin_versions: bool = False  # a change of the answering model's version pauses the session
    blind: bool = False  # nothing that tells whose a text is may reach a model: no file name, no speaker's name
    data_policy: DataPolicy | None = None
    extraction_alert: float = 0.1  # the share of answers without a score, or repaired, above which attention is called
    human_validation: str | None = None  # what its author says of a comparison with human coding
    text: str
    sha256: str

    def settings_of(self, model: str) -> ModelSettings:
        """Return what is asked of that model; the vendor's defaults where the experiment says nothing."""
        return self.parameters.get(model, ModelSettings())
