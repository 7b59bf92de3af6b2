"""models.yaml: what it says of models, every mistake in it at once with its line, and what holds without it."""

import re
from pathlib import Path

import pytest

from discernus.experiments.problems import Problem
from discernus.llm.models_file import (
    Limits,
    ModelRules,
    ModelsFile,
    ModelsFileInvalid,
    Price,
    current_models_file,
    read_models_file,
)
from discernus.llm.models_form import GENERAL_KEYS, MODEL_KEYS

REPOSITORY = Path(__file__).resolve().parents[1]
SHIPPED = REPOSITORY / "projects" / "models.yaml"
PAGE = (REPOSITORY / "docs" / "models-file.md").read_text(encoding="utf-8")
GENERAL = ("gemini/gemini-2.5-flash", "gemini/gemini-2.5-pro")


def written(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "models.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, text: str) -> ModelsFile:
    return read_models_file(written(folder, text))


def refused(path: Path, *, required: bool = False) -> tuple[Problem, ...]:
    with pytest.raises(ModelsFileInvalid) as raised:
        read_models_file(path, required=required)
    return raised.value.problems


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    models_file = read_models_file(tmp_path / "models.yaml")
    assert models_file == ModelsFile()
    rules = models_file.rules("any/model")
    assert (rules.failure_threshold, rules.quarantine_s, rules.health_check_interval_s) == (3, 300.0, 60.0)
    assert (rules.monitored, rules.timeout_s, rules.price) == (True, None, None)
    assert rules.limits == Limits(requests_per_minute=None, tokens_per_minute=None, in_flight=None)
    assert models_file.fallbacks("extraction") == models_file.fallbacks("synthesis") == GENERAL


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "models:\nmodel_timeout:\n", "models: {a/b: }\n"])
def test_what_is_left_empty_is_as_if_left_out(tmp_path: Path, text: str) -> None:
    models_file = read(tmp_path, text)
    assert models_file.rules("a/b") == ModelRules()
    assert models_file.fallbacks("extraction") == GENERAL


def test_the_file_that_ships_states_the_defaults() -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    assert read_models_file(SHIPPED) == ModelsFile()
    assert set(re.findall(r"^(\w+):", text, re.MULTILINE)) == set(GENERAL_KEYS)


def test_the_examples_of_the_file_that_ships_are_valid_once_uncommented(tmp_path: Path) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    models_file = read(tmp_path, re.sub(r"^#(?=  )", "", text, flags=re.MULTILINE))
    assert models_file.rules("gemini/gemini-2.5-pro").limits == Limits(
        requests_per_minute=150, tokens_per_minute=2_000_000, in_flight=20
    )
    own = models_file.rules("openai/qwen3-32b")
    assert own.price == Price(input_usd=0, output_usd=0)
    assert (own.region, own.retention, own.answers_as) == ("eu", "none", ("Qwen/Qwen3-32B",))
    assert set(re.findall(r"^# {4}(\w+):", text, re.MULTILINE)) == set(MODEL_KEYS) - {"cached_input_cost_per_token"}


def test_the_page_explains_every_key_and_its_example_is_valid(tmp_path: Path) -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == {*GENERAL_KEYS, *MODEL_KEYS}
    examples = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert examples
    for number, example in enumerate(examples):
        assert read(tmp_path / str(number), example) != ModelsFile()


def test_every_key_is_read(tmp_path: Path) -> None:
    models_file = read(
        tmp_path,
        """fallback_models: [openai/a, openai/b]
model_failure_threshold: 5
model_timeout: 120
health_check_interval: 30.5
enable_health_monitoring: false
quarantine_duration: 10
models:
  ollama/llama3:8b:
    requests_per_minute: 0.5
    tokens_per_minute: 1000
    in_flight: 1
    model_timeout: 900
    input_cost_per_token: 1.5e-07
    output_cost_per_token: 0.0000006
    cached_input_cost_per_token: 0
    max_input_tokens: 8192
    max_output_tokens: 1024
    region: " eu "
    retention: 30 days
    answers_as: [llama3, "llama3:8b-instruct"]
""",
    )
    general = ModelRules(
        timeout_s=120,
        failure_threshold=5,
        quarantine_s=10,
        health_check_interval_s=30.5,
        monitored=False,
    )
    assert models_file.rules("anything/else") == general
    assert models_file.rules("ollama/llama3:8b") == ModelRules(
        limits=Limits(requests_per_minute=0.5, tokens_per_minute=1000, in_flight=1),
        timeout_s=900,
        failure_threshold=5,
        quarantine_s=10,
        health_check_interval_s=30.5,
        monitored=False,
        price=Price(input_usd=1.5e-7, output_usd=6e-7, cached_input_usd=0),
        max_input_tokens=8192,
        max_output_tokens=1024,
        region="eu",
        retention="30 days",
        answers_as=("llama3", "llama3:8b-instruct"),
    )


def test_a_model_without_a_timeout_of_its_own_has_the_general_one(tmp_path: Path) -> None:
    models_file = read(tmp_path, "model_timeout: 120\nmodels:\n  a/b: {in_flight: 2}\n  c/d: {model_timeout: 5}\n")
    assert [models_file.rules(model).timeout_s for model in ("a/b", "c/d", "e/f")] == [120, 5, 120]


def test_a_price_may_be_written_as_in_price_tables(tmp_path: Path) -> None:
    """YAML takes 3e-7 for text; price tables are full of it."""
    prices = "models:\n  a/b: {input_cost_per_token: 3e-7, output_cost_per_token: 2.5E-06}\n"
    assert read(tmp_path, prices).rules("a/b").price == Price(input_usd=3e-7, output_usd=2.5e-6)


def test_fallbacks_may_differ_by_purpose_and_are_never_those_of_analyses(tmp_path: Path) -> None:
    by_purpose = read(tmp_path / "purpose", "fallback_models:\n  extraction: [a/b]\n  synthesis: []\n")
    assert by_purpose.fallbacks("extraction") == ("a/b",)
    assert by_purpose.fallbacks("synthesis") == ()
    assert by_purpose.fallbacks("analysis") == ()
    one = read(tmp_path / "one", "fallback_models:\n  synthesis: [a/b]\n")
    assert (one.fallbacks("extraction"), one.fallbacks("synthesis")) == (GENERAL, ("a/b",))


def test_where_fallback_is_off_nothing_stands_in_and_the_default_is_still_the_first(tmp_path: Path) -> None:
    models_file = read(tmp_path, "enable_model_fallback: false\nfallback_models: [a/b, c/d]\n")
    assert models_file.fallbacks("extraction") == models_file.fallbacks("synthesis") == ()
    assert models_file.candidates("extraction", "default") == ("a/b",)
    assert models_file.candidates("extraction", "e/f") == ("e/f",)


def test_the_candidates_are_the_model_named_then_its_fallbacks_each_once(tmp_path: Path) -> None:
    models_file = read(tmp_path, "fallback_models: [a/b, c/d]\n")
    assert models_file.candidates("extraction", "default") == ("a/b", "c/d")
    assert models_file.candidates("synthesis", "c/d") == ("c/d", "a/b")
    assert models_file.candidates("extraction", "e/f") == ("e/f", "a/b", "c/d")


@pytest.mark.parametrize(
    ("text", "line", "what", "cure"),
    [
        ("fallback_modles: [a/b]", 1, "'fallback_modles' is not a key of models.yaml", "'fallback_models'"),
        ("purple: 1", 1, "'purple' is not a key", "take it out; the keys are fallback_models,"),
        ("in_flight: 3", 1, "'in_flight' is not a key of models.yaml", "below a model in `models:`"),
        ("\nmodel_timeout: 0", 2, "'model_timeout' is 0", "a number above 0"),
        ("model_timeout: soon", 1, "'model_timeout' is 'soon'", "in seconds"),
        ("model_timeout: .inf", 1, "'model_timeout' is inf", "a number above 0"),
        ("model_timeout: true", 1, "'model_timeout' is True", "a number above 0"),
        ("model_failure_threshold: 2.5", 1, "'model_failure_threshold' is 2.5", "whole number"),
        ("model_failure_threshold: 0", 1, "'model_failure_threshold' is 0", "at least 1"),
        ("quarantine_duration: -1", 1, "'quarantine_duration' is -1", "above 0"),
        ("enable_health_monitoring: 1", 1, "'enable_health_monitoring' is 1", "true or false"),
        ("enable_model_fallback: 'no'", 1, "'enable_model_fallback' is 'no'", "true or false"),
        ("fallback_models: a/b", 1, "neither a list nor a mapping", "[<model>]"),
        ("fallback_models:\n  - a/b\n  - a b", 3, "'a b' is not the name of a model", "gemini"),
        ("fallback_models:\n  - a/b\n  - a/b", 3, "'a/b' is listed twice", "keep the first"),
        ("fallback_models:\n  extraction: a/b", 2, "'extraction' is not a list", "[<model>]"),
        ("fallback_models:\n  synthesys: [a/b]", 2, "'synthesys' is not a purpose", "'synthesis'"),
        ("fallback_models:\n  analysis: [a/b]", 2, "fallbacks for analyses", "in the experiment"),
        ("fallback_models: [default]", 1, "'default' is not the name of a model", "gemini"),
        ("models: [a/b]", 1, "'models' is not a mapping", "<model>:"),
        ("models:\n  a/b: 3", 2, "'a/b' has no settings", "below it"),
        ("models:\n  a b: {in_flight: 3}", 2, "'a b' is not the name of a model", "without spaces"),
        ("models:\n  a/b:\n    rpm: 3", 3, "'rpm' is not a key of model 'a/b'", "the keys are requests_per_minute"),
        ("models:\n  a/b:\n    inflight: 3", 3, "'inflight' is not a key", "'in_flight'"),
        ("models:\n  a/b:\n    quarantine_duration: 3", 3, "not a key of model 'a/b'", "at the top of the file"),
        ("models:\n  a/b:\n    in_flight: 3.0", 3, "'in_flight' is 3.0", "whole number"),
        ("models:\n  a/b:\n    requests_per_minute: 0", 3, "'requests_per_minute' is 0", "above 0"),
        ("models:\n  a/b:\n    tokens_per_minute: '9'", 3, "'tokens_per_minute' is '9'", "above 0"),
        ("models:\n  a/b:\n    region: no", 3, "'region' is False", "in quotes"),
        ("models:\n  a/b:\n    region: ' '", 3, "'region' is ' '", "text"),
        ("models:\n  a/b:\n    answers_as: x", 3, "'answers_as' is 'x'", "a list"),
        ("models:\n  a/b:\n    answers_as:\n      - x\n      - 3", 5, "'answers_as' has 3", "a list"),
        ("models:\n  a/b:\n    input_cost_per_token: 3e-7", 3, "the price of 'a/b' is not whole", "output_cost"),
        ("models:\n  a/b:\n    cached_input_cost_per_token: 0", 3, "is not whole", "write input_cost_per_token"),
        ("models:\n  a/b: {in_flight: 1}\n  a/b: {in_flight: 2}", 3, "'a/b' stands here for the second", "keep one"),
        ("model_timeout: 1\nmodel_timeout: 2", 2, "second time (first: line 1)", "keep one"),
        ("- a", 1, "no settings", "key: value"),
        ("a: [", 1, "YAML cannot be read", ""),
        ("a: &x 1\nb: *x", 2, "alias", "write the value out"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_cure(
    tmp_path: Path, text: str, line: int | None, what: str, cure: str
) -> None:
    [problem] = refused(written(tmp_path / "projects", text))
    assert what in problem.what
    assert cure in problem.cure
    assert (problem.file, problem.severity) == ("projects/models.yaml", "error")
    assert problem.line == line


def test_a_price_per_million_is_not_taken_for_the_price_of_a_token(tmp_path: Path) -> None:
    text = "models:\n  a/b:\n    input_cost_per_token: 0.30\n    output_cost_per_token: 2.50\n"
    problems = refused(written(tmp_path, text))
    assert [(problem.line, problem.what) for problem in problems] == [
        (3, "'input_cost_per_token' is 0.3"),
        (4, "'output_cost_per_token' is 2.5"),
    ]
    assert "divided by 1,000,000" in problems[0].cure


def test_all_mistakes_are_named_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = "quarantine_duration: 0\nmodels:\n  a/b: {in_flight: -1, regoin: eu}\n  c/d: 4\nfallback_models: 3\nx: 1\n"
    assert [problem.line for problem in refused(written(tmp_path, text))] == [1, 3, 3, 4, 5, 6]


def test_a_file_that_cannot_be_read_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "folder" / "models.yaml").mkdir(parents=True)
    (tmp_path / "latin").mkdir()
    (tmp_path / "latin" / "models.yaml").write_bytes("# für alle\n".encode("latin-1"))
    assert "cannot be read" in refused(tmp_path / "folder" / "models.yaml")[0].what
    assert "ISO-8859-1" in refused(tmp_path / "latin" / "models.yaml")[0].what


def test_a_file_that_is_broken_while_it_is_edited_holds_as_it_was(tmp_path: Path) -> None:
    path = written(tmp_path, "model_timeout: 7\n")
    assert current_models_file(path).rules("a/b").timeout_s == 7
    path.write_text("model_timeout: [\n", encoding="utf-8")
    assert current_models_file(path).rules("a/b").timeout_s == 7
    path.write_text("model_timeout: 8.25\n", encoding="utf-8")
    assert current_models_file(path).rules("a/b").timeout_s == 8.25


def test_a_file_that_never_held_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelsFileInvalid):
        current_models_file(written(tmp_path, "model_timeout: [\n"))


def test_a_file_that_was_named_has_to_be_there(tmp_path: Path) -> None:
    [problem] = refused(tmp_path / "models.yaml", required=True)
    assert (problem.what, problem.line) == ("there is no such file", None)


def test_a_file_is_read_again_once_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "projects", "model_timeout: 7\n")
    monkeypatch.chdir(tmp_path)
    first = read_models_file(Path("projects/models.yaml"))
    assert read_models_file(path) is first
    path.write_text("model_timeout: 80\n", encoding="utf-8")
    assert read_models_file(path).rules("a/b").timeout_s == 80
    other = written(tmp_path / "other" / "projects", "model_timeout: 9\n")
    monkeypatch.chdir(other.parents[1])
    assert read_models_file(Path("projects/models.yaml")).rules("a/b").timeout_s == 9
