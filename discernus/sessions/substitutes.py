"""Whether another model gave an archived answer than the one asked for, judged by what models.yaml says now.

What the record says was judged when the answer came; ``answers_as``, written since, may say that it is the same model.
"""

from __future__ import annotations

from discernus.llm import proxy
from discernus.llm.models_file import ModelsFile, ModelsFileInvalid
from discernus.llm.substitution import is_other_model
from discernus.sessions.archive import ArchiveDamaged, ArchivedCall
from discernus.sessions.costs import models_of
from discernus.sessions.layout import Call
from discernus.sessions.session import Parked, Session


def is_substitute(session: Session, record: ArchivedCall) -> bool:
    """Return whether another model answered, by the names or by the proxy's word; what was none then is none now."""
    if not record.substituted:
        return False
    if proxy.went_elsewhere(record.model_forensics.get("proxy") or {}):
        return True
    rules = _models(session).rules(record.model_requested)
    return is_other_model(record.model_requested, record.model_answered, rules.answers_as)


def release_own_answers(session: Session) -> int:
    """Release the parked analyses whose answers were taken for another model's and no longer are; return how many."""
    refused = [record for record in session.all_parked() if record.error_class == "substitution"]
    own = [record for record in refused if _is_own(session, record)]
    for record in own:
        session.park(record.model_copy(update={"released": True}))
    return len(own)


def _is_own(session: Session, parked: Parked) -> bool:
    try:
        found = session.archive.look_up(Call.named(parked.call))
    except ArchiveDamaged:
        return False
    return found is not None and not is_substitute(session, found[0])


def _models(session: Session) -> ModelsFile:
    try:
        return models_of(session.projects_dir)
    except ModelsFileInvalid:  # by now it decides nothing any more
        return ModelsFile()
