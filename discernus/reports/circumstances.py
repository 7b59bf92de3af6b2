"""Under which circumstances the session ran: the limits that held, the data policy, and where the texts were sent."""

from discernus.experiments.experiment import OFFLINE_PREFIX, DataPolicy
from discernus.reports.data import ReportData
from discernus.reports.markdown import NONE, series, table, text


def limits(data: ReportData) -> str | None:
    """Return this session's parts of its models' limits; None where there were none."""
    if not data.limits:
        return None
    lead = "The session's part of what its models may be asked, as it was last told:"
    return f"## Limits that held\n\n{lead}\n\n" + "\n".join(f"- {text(one)}" for one in data.limits)


def destinations(data: ReportData) -> str | None:
    """Return the data policy as stated, and where the texts went; None where there is no policy and no vendor."""
    policy = data.experiment.data_policy
    sent = [one for one in data.destinations if not one.model.startswith(OFFLINE_PREFIX)]
    if policy is None and not sent:
        return None
    stated = "The experiment states no data policy." if policy is None else _stated(policy)
    parts = ["## Where the texts were sent", stated]
    if not sent:
        parts.append("To nobody: no vendor's model was called.")
    else:
        rows = [
            [text(one.model), text(one.vendor or "not known"), text(one.region or "not known"), one.source or NONE]
            for one in sent
        ]
        parts.append(table(["model", "vendor", "region", "region told by"], rows, left=4))
    return "\n\n".join(parts)


def _stated(policy: DataPolicy) -> str:
    rules = {
        "sensitivity": policy.sensitivity,
        "permitted vendors": _listed(policy.vendors),
        "permitted regions": _listed(policy.regions),
        "what a vendor may keep": policy.retention,
    }
    stated = [f"{rule} *{text(value)}*" for rule, value in rules.items() if value is not None]
    return f"Data policy of the experiment: {'; '.join(stated)}."


def _listed(names: tuple[str, ...] | None) -> str | None:
    return None if names is None else series(names) or "none"
