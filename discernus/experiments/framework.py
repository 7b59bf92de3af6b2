"""What a framework is: dimensions, prompts, formulas and the contract that an answer has to meet.

The roles of a contract's keys (score, confidence, evidence, …) are decided once, when the framework is read, so that
nothing downstream knows the naming habits of any framework or vendor.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Role = Literal["score", "confidence", "salience", "evidence", "label", "other"]

PROMPT_FORM = 2  # of what is put to models; from 2 on with what the machine's part says of each dimension


class Dimension(BaseModel):
    """One thing a framework scores.

    ``name`` is snake_case and unique in its framework (``tribal_dominance``); ``low`` and ``high`` bound its scores,
    in the framework's own units; ``markers`` are the phrases the framework names for it, lower case, in its order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    label: str
    description: str = ""
    markers: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0


class ContractField(BaseModel):
    """One key of the answer a framework asks for: where it stands, what it means, and of which dimension.

    ``path`` is the chain of keys from the top of the answer (``("fear_score",)`` or
    ``("dimensional_scores", "fear", "raw_score")``). ``dimension`` is None for fields about the whole document.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: tuple[str, ...]
    role: Role
    type: str
    dimension: str | None = None


class Contract(BaseModel):
    """The answer a framework asks for: its fields with their roles, and the words in which it asks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fields: tuple[ContractField, ...]
    instructions: str = ""
    schema_text: str = ""  # the contract's schema as it is shown to a model (JSON)


class Variant(BaseModel):
    """One way of asking: a name, what it is for, and the prompt that carries the framework to the model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str = ""
    analysis_prompt: str


class DerivedMetric(BaseModel):
    """A formula over dimensions, as the framework states it; computed by code, never by a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    formula: str


class Framework(BaseModel):
    """A framework as read from its file; ``text`` is the whole file, ``sha256`` the hash of its bytes.

    ``guidance`` is what its machine-readable part alone says about the dimensions, in words for the model.
    ``prompt_form`` is that of the questions it is put in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    display_name: str
    text: str
    sha256: str
    dimensions: tuple[Dimension, ...]
    variants: tuple[Variant, ...]
    derived_metrics: tuple[DerivedMetric, ...]
    contract: Contract
    guidance: str = ""
    prompt_form: int = PROMPT_FORM

    def variant(self, name: str) -> Variant:
        """Return the variant of that name, or raise KeyError."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise KeyError(name)
