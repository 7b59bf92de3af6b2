"""An experiment with everything it names: framework, corpus, and what was found wrong on the way."""

from dataclasses import dataclass

from discernus.experiments.corpus import Document
from discernus.experiments.experiment import Experiment
from discernus.experiments.framework import Framework
from discernus.experiments.problems import Problem


@dataclass(frozen=True)
class Definition:
    """All that a session is made from, read and valid. ``texts`` maps document ids to their decoded texts."""

    experiment: Experiment
    framework: Framework
    documents: tuple[Document, ...]
    texts: dict[str, str]
    warnings: tuple[Problem, ...]
