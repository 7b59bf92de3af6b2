"""The plan of a session: every analysis it consists of, numbered once and for ever.

Order is run by run, so that a session cut short holds whole runs over all documents rather than all runs of a few.
"""

from pydantic import BaseModel, ConfigDict


class Analysis(BaseModel):
    """One document, read by one model under one variant, for the ``run``-th time (from 1). ``number`` is from 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    document: str
    model: str
    variant: str
    run: int


def make_plan(documents: list[str], models: list[str], variants: list[str], runs: int) -> list[Analysis]:
    """Return every analysis, runs × documents × variants × models, numbered from 1 in that order."""
    combinations = (
        (document, model, variant, run)
        for run in range(1, runs + 1)
        for document in documents
        for variant in variants
        for model in models
    )
    return [
        Analysis(number=number, document=document, model=model, variant=variant, run=run)
        for number, (document, model, variant, run) in enumerate(combinations, start=1)
    ]
