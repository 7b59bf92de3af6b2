"""The examples in docs/experiment-format.md are read as they stand there."""

import re
from pathlib import Path

from discernus.experiments.experiment_file import KEYS, parse_experiment
from discernus.experiments.framework_file import parse_framework

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "experiment-format.md").read_text(encoding="utf-8")


def example(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def test_the_documented_framework_is_valid() -> None:
    framework, problems = parse_framework(f"```json\n{example('json')}```\n".encode(), "framework.md")
    assert problems == ()
    assert framework is not None
    assert [dimension.name for dimension in framework.dimensions] == ["storm", "calm"]


def test_the_documented_experiment_is_valid_and_every_key_is_documented() -> None:
    reading = parse_experiment(example("yaml").encode(), "speeches", "experiment.md")
    assert reading.problems.found == []
    assert reading.experiment is not None
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == set(KEYS)
