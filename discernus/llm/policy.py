"""Whether a model may be shown an experiment's texts: its data policy against what is known of the model.

What is not known is outside: a promise about where texts go is kept only where somebody has said where they go.
"""

import re

from discernus.experiments.experiment import OFFLINE_PREFIX, DataPolicy
from discernus.llm.models_file import ModelRules

_LOCAL = frozenset({"ollama", "ollama_chat", "lm_studio", "llamafile"})  # programs that one runs oneself: no vendor
_HOSTED = re.compile(r"[:-]cloud$")  # ollama/gpt-oss:120b-cloud: the program passes these on to its maker's machines
_NOTHING_KEPT = "none"
# Bedrock's profiles keep a call within the part of the world that their name begins with. LiteLLM heeds a region in the
# path surely on the route `converse` alone, and only if it knows it; else the call goes to AWS_REGION in spite of it.
_BEDROCK_PROFILE = re.compile(r"(?:.*/)?(us-gov|us|eu|apac|jp|au|global)\.[a-z0-9]+\.")
_BEDROCK_REGION = re.compile(
    r"(?:bedrock/)?converse/(us-(?:east|west)-[12]|us-gov-(?:east|west)-1|eu-west-[123]|eu-(?:central|south)-[12]"
    r"|eu-north-1|ap-northeast-[123]|ap-south(?:east)?-[12]|ca-central-1|sa-east-1)/"
)


def why_outside(policy: DataPolicy, model: str, vendor: str | None, rules: ModelRules) -> str | None:
    """Return why a model is outside of the policy and what helps, in words; None if it may be shown the texts.

    ``vendor`` is LiteLLM's name of who serves it, None if nobody knows. The offline model is inside always; a server of
    one's own is, unless models.yaml says of it where it runs or what it keeps: then it is looked at like any other.
    """
    if model.startswith(OFFLINE_PREFIX) or _is_own(model, vendor, rules):
        return None
    reasons = [
        reason
        for reason in (
            _wrong_vendor(policy, vendor),
            _wrong_region(policy, region_of(model, vendor, rules)),
            _wrong_retention(policy, rules.retention),
        )
        if reason is not None
    ]
    return f"model '{model}' is outside of the data policy: {'; '.join(reasons)}" if reasons else None


def region_of(model: str, vendor: str | None, rules: ModelRules) -> str | None:
    """Return where a model runs: as its name has it, where that decides, else as models.yaml says; None if neither."""
    if vendor is not None and vendor.startswith("bedrock"):
        found = _BEDROCK_PROFILE.match(model) or _BEDROCK_REGION.match(model)
        if found:
            return found[1]
    return rules.region


def _is_own(model: str, vendor: str | None, rules: ModelRules) -> bool:
    nothing_said = rules.region is None and rules.retention is None
    return vendor in _LOCAL and nothing_said and not _HOSTED.search(model)


def _wrong_vendor(policy: DataPolicy, vendor: str | None) -> str | None:
    if policy.vendors is None or (vendor is not None and _is_among(vendor, policy.vendors)):
        return None
    permitted = f"permitted: {', '.join(policy.vendors)}" if policy.vendors else "none is permitted"
    who = "its vendor is not known" if vendor is None else f"its vendor is {vendor}"
    helps = "name the model with its vendor before a slash" if vendor is None else "use another model"
    return f"{who} ({permitted}): {helps}"


def _wrong_region(policy: DataPolicy, region: str | None) -> str | None:
    if policy.regions is None or (region is not None and _is_among(region, policy.regions)):
        return None
    permitted = f"permitted: {', '.join(policy.regions)}"
    if region is None:
        return f"where it runs is not known ({permitted}): state `region:` for it in models.yaml, or use another model"
    return f"it runs in {region} ({permitted}): use another model"


def _wrong_retention(policy: DataPolicy, retention: str | None) -> str | None:
    if policy.retention is None:
        return None
    permitted = f"permitted: {policy.retention}"
    if retention is None:
        cure = "state `retention:` for it in models.yaml, or use another model"
        return f"what its vendor keeps is not known ({permitted}): {cure}"
    if _is_among(retention, (policy.retention, _NOTHING_KEPT)):
        return None
    return f"its vendor keeps texts: {retention} ({permitted}): use another model"


def _is_among(value: str, permitted: tuple[str, ...]) -> bool:
    """Return whether the value is among those, whatever the case; a part of the world does not hold its regions."""
    return value.casefold() in {each.casefold() for each in permitted}
