"""The examples in docs/experiment-format.md are read as they stand there."""

import re
from pathlib import Path

from discernus.experiments.experiment import DataPolicy
from discernus.experiments.experiment_file import KEYS, parse_experiment

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "experiment-format.md").read_text(encoding="utf-8")


def examples(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    return found


def test_the_documented_experiment_is_valid_and_every_key_is_documented() -> None:
    reading = parse_experiment(examples("yaml")[0].encode(), "speeches", "experiment.md")
    assert reading.problems.found == []
    assert reading.experiment is not None
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == set(KEYS)


def test_what_is_documented_apart_may_be_added_to_the_documented_experiment() -> None:
    whole, *apart = examples("yaml")
    end = whole.rindex("---")
    models = "[gemini/gemini-2.5-flash, openai/gpt-4o]"
    settings = re.sub(r"^models:\n(?:  .*\n)+", f"models: {models}\n", whole[:end], flags=re.MULTILINE)
    reading = parse_experiment(f"{settings}{''.join(apart)}---\n".encode(), "speeches", "experiment.md")
    assert reading.problems.found == []
    experiment = reading.experiment
    assert experiment is not None
    assert experiment.fallback_models["openai/gpt-4o"] == ("azure/gpt-4o", "openai/gpt-4.1")
    assert experiment.data_policy is not None
    assert experiment.data_policy.retention == "none"
    assert set(experiment.data_policy.model_dump(exclude_none=True)) == set(DataPolicy.model_fields)
