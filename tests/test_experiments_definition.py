"""Reading whole experiments: everything wrong in all files at once, freezing them, and finding what has changed."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from discernus.canonical import canonical_json
from discernus.experiments.definition import Definition, read_definition
from discernus.experiments.experiment import DataPolicy, ModelSettings
from discernus.experiments.experiment_file import read_experiment
from discernus.experiments.freezing import SnapshotDamaged, differences, freeze, thaw
from discernus.experiments.location import ExperimentNotFound, find_experiment, project_of
from discernus.experiments.problems import InvalidDefinition, Problem

FRAMEWORK = """# Weather of a Text
```json
{
  "name": "weather",
  "version": "1",
  "analysis_variants": {
    "default": {"analysis_prompt": "Score from 0 to 1."},
    "brief": {"analysis_prompt": "Score from 0 to 1, briefly."}
  },
  "calculation_spec": {"balance": "calm_score - storm_score"},
  "output_contract": {"schema": {"mood": "string", "storm_score": "number", "calm_score": "number"}}
}
```
"""
EXPERIMENT = """---
format: 1
title: Weather in speeches
framework_file: framework.md
models:
  - gemini/gemini-2.5-flash
runs_per_model: 3
---
# Body
"""
OLDER = EXPERIMENT.replace("format: 1\n", "")


def experiment_in(folder: Path, text: str = EXPERIMENT) -> Path:
    (folder / "corpus").mkdir(parents=True)
    (folder / "experiment.md").write_text(text)
    (folder / "framework.md").write_text(FRAMEWORK)
    (folder / "corpus" / "one.txt").write_text("Thunder over the bay.\n")
    (folder / "corpus" / "two.txt").write_text("Still water.\n")
    (folder / "corpus.csv").write_text("file,group\none.txt,sea\ntwo.txt,land\n")
    return folder


def with_settings(settings: str, text: str = EXPERIMENT) -> str:
    """Return the experiment with settings in place of its own of the same keys, or added before the end."""
    keys = {line.split(":")[0] for line in settings.splitlines() if line and line[0].isalpha()}
    kept: list[str] = []
    dropping = False
    for line in text.splitlines():
        if line[:1].isalpha():
            dropping = line.split(":")[0] in keys
        elif line.startswith("---"):
            dropping = False
        if not dropping:
            kept.append(line)
    end = kept.index("---", 1)
    return "\n".join([*kept[:end], *settings.splitlines(), *kept[end:], ""])


def refused(folder: Path) -> tuple[Problem, ...]:
    with pytest.raises(InvalidDefinition) as raised:
        read_definition(folder)
    return raised.value.problems


def test_an_experiment_in_the_current_form_is_read_without_a_word(tmp_path: Path) -> None:
    definition = read_definition(experiment_in(tmp_path / "weather"))
    experiment = definition.experiment
    assert definition.warnings == ()
    assert (experiment.name, experiment.title, experiment.format) == ("weather", "Weather in speeches", 1)
    assert (experiment.models, experiment.runs_per_model) == (("gemini/gemini-2.5-flash",), 3)
    assert (experiment.variants, experiment.corpus) == (("default",), "corpus")
    assert definition.texts == {"one": "Thunder over the bay.\n", "two": "Still water.\n"}
    assert read_definition(tmp_path / "weather" / "experiment.md") == definition


def test_every_setting_is_read(tmp_path: Path) -> None:
    settings = """analysis_variant: [brief, default]
models:
  - {model: openai/gpt-4o, temperature: 0.5, seed: 7}
  - gemini/gemini-2.5-pro
runs_per_model: 2
parameters:
  default: {temperature: 0, max_tokens: 900}
  gemini/gemini-2.5-pro: {reasoning: low}
fallback_models:
  openai/gpt-4o: [gemini/gemini-2.5-pro, azure/gpt-4o]
allow_substitution: true
extraction_model: gemini/gemini-2.5-flash
synthesis_model: default
hypotheses: ["It thunders.", {name: calm, text: "It is calm."}, {H9: "It rains."}]
statistical_plan:
  - {hypothesis: H1, test: welch, variables: [storm_score, balance], grouping_variable: group, expect: sea > land}
budget_usd: 2.5
concurrency: 4
pin_versions: true
data_policy: {sensitivity: personal, vendors: [gemini, openai], regions: [eu], retention: none}
"""
    experiment = read_definition(experiment_in(tmp_path / "weather", with_settings(settings))).experiment
    assert experiment.variants == ("brief", "default")
    assert experiment.models == ("openai/gpt-4o", "gemini/gemini-2.5-pro")
    assert experiment.settings_of("openai/gpt-4o") == ModelSettings(temperature=0.5, max_tokens=900, seed=7)
    assert experiment.settings_of("gemini/gemini-2.5-pro") == ModelSettings(
        temperature=0, max_tokens=900, reasoning="low"
    )
    assert (experiment.extraction_model, experiment.synthesis_model) == (
        "gemini/gemini-2.5-flash",
        "default",
    )
    assert experiment.fallback_models == {"openai/gpt-4o": ("gemini/gemini-2.5-pro", "azure/gpt-4o")}
    assert experiment.allow_substitution is True
    assert experiment.data_policy == DataPolicy(
        sensitivity="personal", vendors=("gemini", "openai"), regions=("eu",), retention="none"
    )
    assert [(each.name, each.text) for each in experiment.hypotheses] == [
        ("H1", "It thunders."),
        ("calm", "It is calm."),
        ("H9", "It rains."),
    ]
    assert [each.untestable is None for each in experiment.hypotheses] == [True, False, False]
    assert (experiment.budget_usd, experiment.concurrency, experiment.pin_versions) == (2.5, 4, True)


def test_what_stands_in_for_a_model_is_nothing_unless_it_is_written(tmp_path: Path) -> None:
    experiment = read_definition(experiment_in(tmp_path / "weather")).experiment
    assert (experiment.fallback_models, experiment.allow_substitution, experiment.data_policy) == ({}, False, None)


def test_one_list_of_fallbacks_is_for_every_model_that_can_fail(tmp_path: Path) -> None:
    settings = "models: [offline/lexicon, openai/gpt-4o, gemini/gemini-2.5-flash]\nfallback_models: [a/b, c/d]"
    experiment = read_definition(experiment_in(tmp_path / "weather", with_settings(settings))).experiment
    assert experiment.fallback_models == {
        "openai/gpt-4o": ("a/b", "c/d"),
        "gemini/gemini-2.5-flash": ("a/b", "c/d"),
    }


def test_a_fallback_is_asked_with_settings_of_its_own_where_it_has_any(tmp_path: Path) -> None:
    settings = (
        "models: [{model: openai/gpt-4o, seed: 7}]\nfallback_models: [a/b, c/d]\n"
        "parameters:\n  default: {max_tokens: 900}\n  a/b: {temperature: 1}"
    )
    experiment = read_definition(experiment_in(tmp_path / "weather", with_settings(settings))).experiment
    assert experiment.parameters == {
        "openai/gpt-4o": ModelSettings(max_tokens=900, seed=7),
        "a/b": ModelSettings(max_tokens=900, temperature=1),
    }
    assert experiment.models == ("openai/gpt-4o",)


def test_models_of_the_command_line_keep_their_fallbacks_and_are_never_their_own(tmp_path: Path) -> None:
    folder = experiment_in(tmp_path / "weather", with_settings("fallback_models: [a/b, c/d]"))
    assert read_definition(folder, models=["a/b", "e/f"]).experiment.fallback_models == {
        "a/b": ("c/d",),
        "e/f": ("a/b", "c/d"),
    }
    assert read_definition(folder, models=["offline/lexicon"]).experiment.fallback_models == {}
    by_model = with_settings("fallback_models:\n  gemini/gemini-2.5-flash: [a/b]")
    other = experiment_in(tmp_path / "other", by_model)
    assert read_definition(other, models=["e/f"]).experiment.fallback_models == {}
    assert read_definition(other).experiment.fallback_models == {"gemini/gemini-2.5-flash": ("a/b",)}


def test_a_policy_without_vendors_is_read_as_permitting_none(tmp_path: Path) -> None:
    experiment = read_definition(
        experiment_in(tmp_path / "weather", with_settings("data_policy: {vendors: []}"))
    ).experiment
    assert experiment.data_policy == DataPolicy(vendors=())


def test_a_policy_that_is_misspelt_inside_is_an_error_in_the_older_form_too(tmp_path: Path) -> None:
    older = with_settings("data_policy: {vendor: [gemini]}", OLDER)
    errors = [problem for problem in refused(experiment_in(tmp_path / "older", older)) if problem.severity == "error"]
    assert [problem.cure for problem in errors] == ["did you mean 'vendors'?"]


def test_the_published_experiment_runs_unchanged_with_warnings(shared: Path) -> None:
    definition = read_definition(shared / "experiment_3", models=["offline/lexicon"])
    experiment = definition.experiment
    assert (experiment.format, experiment.framework_file, experiment.runs_per_model) == (0, "framework.md", 6)
    assert experiment.models == ("offline/lexicon",)
    assert len(definition.documents) == 8
    assert [each.untestable for each in experiment.hypotheses] == [
        "'cff_cohesion_index' is defined neither by the framework nor by the corpus",
        "no test in the statistical plan refers to it",
        "the plan names no threshold to judge the coefficient's interval by",
    ]
    assert {warning.severity for warning in definition.warnings} == {"warning"}
    assert [(warning.file, warning.line) for warning in definition.warnings] == [
        ("experiment_3/experiment.md", line) for line in (1, 3, 24, 54, 61, 84)
    ]
    assert "did you mean 'full_cohesion_index'?" in definition.warnings[3].cure


def test_values_of_the_command_line_stand_before_those_of_the_file(tmp_path: Path) -> None:
    broken = with_settings("models: []\nruns_per_model: 0\nconcurrency: none\nparameters:\n  default: {seed: 1}")
    folder = experiment_in(tmp_path / "weather", broken)
    experiment = read_definition(folder, models=["offline/lexicon"], runs=2, concurrency=3).experiment
    assert (experiment.models, experiment.runs_per_model, experiment.concurrency) == (("offline/lexicon",), 2, 3)
    assert experiment.settings_of("offline/lexicon").seed == 1


@pytest.mark.parametrize(
    ("settings", "line_text", "what", "cure"),
    [
        ("format: 2", "format: 2", "format 2 is not known", "format: 1"),
        ("modles: [x]", "modles", "'modles' is not a key", "did you mean 'models'?"),
        ("budget: 3", "budget", "'budget' is not a key", "did you mean 'budget_usd'?"),
        ("workflow: []", "workflow", "belongs to an older form", "taken out"),
        ("models: []", "models", "names no model", "models:"),
        ("models: gpt", "models", "is not a list", "dash"),
        ("models:\n  - gpt 4o", "- gpt 4o", "has a space", "gpt4o"),
        ("models:\n  - 4", "- 4", "4 is not the name of a model", "gemini"),
        ("models:\n  - {temperature: 1}", "temperature", "None is not the name of a model", "gemini"),
        ("models:\n  - a/b\n  - c/d\n  - a/b", "- a/b", "listed twice", "keep one"),
        ("models:\n  - {model: a, temperature: -1}", "model: a", "'temperature' is -1", "correct"),
        ("models:\n  - {model: a, temperture: 1}", "model: a", "'temperture' is not a parameter", "'temperature'"),
        ("parameters:\n  default: {top_p: .nan}", "top_p", "'top_p' is nan", "correct"),
        ("parameters:\n  temperature: 0", "temperature", "where a model's name is expected", "default:"),
        ("parameters: 3", "parameters", "is not a mapping", "default:"),
        ("parameters:\n  other/model: {seed: 1}", "other/model", "which is not in models", "add it"),
        ("runs_per_model: 0", "runs_per_model", "'runs_per_model' is 0", "at least 1"),
        ("runs_per_model: 2.5", "runs_per_model", "'runs_per_model' is 2.5", "whole number"),
        ("runs_per_model: true", "runs_per_model", "'runs_per_model' is True", "whole number"),
        ("concurrency: -3", "concurrency", "'concurrency' is -3", "at least 1"),
        ("budget_usd: -1", "budget_usd", "'budget_usd' is -1", "0 or more"),
        ("budget_usd: .nan", "budget_usd", "'budget_usd' is nan", "0 or more"),
        ("budget_usd: ten", "budget_usd", "'budget_usd' is 'ten'", "US dollars"),
        ("pin_versions: 1", "pin_versions", "'pin_versions' is 1", "true"),
        ("allow_substitution: sometimes", "allow_substitution", "is 'sometimes'", "true"),
        ("fallback_models: a/b", "fallback_models", "neither a list nor a mapping", "[<model>]"),
        ("fallback_models:\n  - a/b\n  - a b", "- a b", "has a space", "ab"),
        ("fallback_models:\n  - a/b\n  - c/d\n  - a/b", "- a/b", "'a/b' is listed twice", "keep the first"),
        ("fallback_models:\n  - a/b\n  - default", "- default", "'default' is not the name of a model", "gemini"),
        (
            "models: [a/b, c/d]\nfallback_models:\n  - e/f\n  - c/d",
            "  - c/d",
            "'c/d' is listed as its own",
            "a list for",
        ),
        ("models: [a/b]\nfallback_models:\n  a/b:\n    - c/d\n    - a/b", "- a/b", "listed as its own", "take it out"),
        ("models: [a/b]\nfallback_models:\n  a/b: c/d", "a/b: c/d", "'a/b' has no list of fallbacks", "a/b: [<model>]"),
        ("models: [a/b]\nfallback_models:\n  a/d: [c/d]", "a/d: ", "for 'a/d', which is not in models", "'a/b'"),
        ("models: [default]", "models", "'default' is not the name of a model", "gemini"),
        ("data_policy:", "data_policy", "'data_policy' says nothing", "sensitivity, vendors, regions, retention"),
        ("data_policy: {}", "data_policy", "'data_policy' says nothing", "or take it out"),
        ("data_policy: strict", "data_policy", "'data_policy' says nothing", "or take it out"),
        ("data_policy:\n  region: [eu]", "region: [eu]", "'region' is not a rule", "'regions'"),
        ("data_policy:\n  sensitivity: 3", "sensitivity", "'sensitivity' is 3, not text", "personal"),
        ("data_policy:\n  retention: no", "retention", "'retention' is False, not text", "retention: none"),
        ("data_policy:\n  vendors: gemini", "vendors", "'vendors' is not a list", "[gemini, vertex_ai]"),
        ("data_policy:\n  vendors:", "vendors", "'vendors' is not a list", "[gemini, vertex_ai]"),
        ("data_policy:\n  regions: []", "regions", "'regions' is not a list", "[eu"),
        ("data_policy:\n  regions:\n    - eu\n    - no", "- no", "False is not a name", "in quotes"),
        ("data_policy:\n  vendors:\n    - openai/gpt-4o", "- openai/", "is a model, and not a vendor", "slash: openai"),
        ("title: [a]", "title", "'title' is not text", "quotes"),
        ("extraction_model: a b", "extraction_model", "has a space", "ab"),
        ("synthesis_model: 7", "synthesis_model", "7 is not the name", "gemini"),
        ("analysis_variant: breif", "analysis_variant", "no variant 'breif'", "did you mean 'brief'?"),
        ("analysis_variant: [brief, brief]", "analysis_variant", "listed twice", "keep one"),
        ("analysis_variant: {}", "analysis_variant", "neither a name nor a list", "default"),
        ("framework_file: framewrok.md", "framework_file", "no framework 'framewrok.md'", "framework.md"),
        ("framework_file: ../../../etc/passwd", "framework_file", "lies outside", "copy it"),
        ("framework_file: /etc/passwd", "framework_file", "lies outside", "copy it"),
        ("corpus: ../..", "corpus", "lies outside", "copy it"),
        ("corpus: .", "corpus", "the experiment's own folder", "folder of their own"),
        ("hypotheses: 3", "hypotheses", "neither a mapping nor a list", "H1"),
        ("hypotheses:\n  H1: 3", "H1", "hypothesis H1 is not text", "H1"),
        ("hypotheses:\n  - {name: a, text: x}\n  - {name: a, text: y}", "text: y", "second time", "rename"),
        ("statistical_plan: welch", "statistical_plan", "not a list of tests", "dash"),
        ("statistical_plan:\n  - welch", "- welch", "has no settings", "below"),
        ("statistical_plan:\n  - {alpha: .nan}", "alpha", "neither text, a finite number", "plain"),
        ("statistical_plan:\n  - {hypothesis: H7}", "H7", "no hypothesis 'H7'", "hypotheses are none"),
        ("statistical_plan:\n  - {variables: strom}", "strom", "'strom' is defined neither", "'storm'"),
        ("statistical_plan:\n  - {group_by: grp}", "grp", "groups 'grp' are neither", "'group'"),
        ("title: a: b", "title: a: b", "YAML cannot be read", "quotes"),
        ("title: *x", "title", "YAML", ""),
        ("title: a\ntitle: b", "title: b", "second time", "keep one"),
        ("? [a]\n: b", "? [a]", "not plain text", "simple name"),
        ('title: "\\ud800"', "title", "YAML cannot be read", ""),
        ("title: !!python/name:os.system x", "title", "YAML cannot be read", "correct"),
    ],
)
def test_a_mistake_in_the_experiment_is_named_with_its_line_and_cure(
    tmp_path: Path, settings: str, line_text: str, what: str, cure: str
) -> None:
    text = with_settings(settings)
    named = [problem for problem in refused(experiment_in(tmp_path / "weather", text)) if what in problem.what]
    assert named
    problem = named[0]
    assert (problem.file, problem.severity) == ("weather/experiment.md", "error")
    assert cure in problem.cure
    lines = {number for number, line in enumerate(text.splitlines(), 1) if line_text in line}
    assert problem.line in lines or (problem.line is None and "YAML" in what)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("# Only prose\n", "no front matter"),
        ("---\ntitle: x\n", "never closed"),
        ("---\n---\n", "no settings"),
        ("---\n- a\n---\n", "no settings"),
        ("---\ntitle: [a\n---\n", "YAML cannot be read"),
        ("---\n\ttitle: a\n---\n", "YAML cannot be read"),
        ("---\ntitle: \x07\n---\n", "YAML cannot be read"),
        ("---\na: &x [1]\nb: *x\n---\n", "alias"),
        ("---\ntitle: " + "[" * 500 + "\n---\n", "YAML cannot be read"),
    ],
)
def test_front_matter_that_cannot_be_read_is_one_problem_and_no_crash(tmp_path: Path, text: str, what: str) -> None:
    [problem] = refused(experiment_in(tmp_path / "weather", text))
    assert what in problem.what
    assert problem.file == "weather/experiment.md"


def test_an_experiment_in_another_encoding_is_refused(tmp_path: Path) -> None:
    folder = experiment_in(tmp_path / "weather")
    (folder / "experiment.md").write_bytes(EXPERIMENT.replace("Weather", "Stürme").encode("latin-1"))
    assert "ISO-8859-1" in refused(folder)[0].what


def test_what_the_current_form_refuses_the_older_form_warns_of(tmp_path: Path) -> None:
    settings = (
        "workflow: []\nruns: 3\nhypotheses:\n  H1: It thunders.\n  H2: Said so.\n  H3: It is calm.\n"
        "statistical_plan:\n  - test: {hypothesis_ref: H1, params: {data_source: strom_score}}\n"
        "  - test: {hypothesis_ref: H3, params: {method: icc, data_sources: [calm_score], threshold: 0.7}}\n"
        "framework_file: ./lost.md"
    )
    definition = read_definition(experiment_in(tmp_path / "older", with_settings(settings, OLDER)))
    said = " ".join(warning.what for warning in definition.warnings)
    assert all(part in said for part in ("older form", "'workflow'", "'runs'", "'strom_score'", "'./lost.md'"))
    assert [bool(each.untestable) for each in definition.experiment.hypotheses] == [True, True, False]
    problems = refused(experiment_in(tmp_path / "current", with_settings(settings)))
    errors = " ".join(problem.what for problem in problems if problem.severity == "error")
    assert all(part in errors for part in ("'workflow'", "'runs'", "'./lost.md'"))


def test_two_frameworks_to_fall_back_on_are_both_named(tmp_path: Path) -> None:
    folder = experiment_in(tmp_path / "weather", OLDER.replace("framework_file: framework.md\n", ""))
    (folder / "other.md").write_text(FRAMEWORK)
    [problem] = [problem for problem in refused(folder) if problem.severity == "error"]
    assert "framework.md, other.md" in problem.cure


def test_all_mistakes_of_all_files_are_named_at_once(tmp_path: Path) -> None:
    folder = experiment_in(tmp_path / "weather", with_settings("budget_usd: -1\nmodels: []"))
    (folder / "framework.md").write_text(FRAMEWORK.replace("calm_score -", "clam_score -"))
    (folder / "corpus" / "three.txt").write_text("")
    (folder / "corpus.csv").write_text("file,id\none.txt,a\ntwo.txt,a\n")
    errors = [problem for problem in refused(folder) if problem.severity == "error"]
    assert [(problem.file, problem.line) for problem in errors] == [
        ("weather/experiment.md", 6),
        ("weather/experiment.md", 7),
        ("weather/framework.md", 10),
        ("weather/corpus/three.txt", None),
        ("weather/corpus.csv", 3),
    ]


def test_a_framework_of_one_variant_needs_no_name_for_it(tmp_path: Path) -> None:
    folder = experiment_in(tmp_path / "weather")
    only = FRAMEWORK.replace('    "default": {"analysis_prompt": "Score from 0 to 1."},\n', "")
    (folder / "framework.md").write_text(only)
    assert read_definition(folder).experiment.variants == ("brief",)


def test_a_corpus_may_be_shared_within_its_project_and_not_beyond(tmp_path: Path) -> None:
    project = tmp_path / "projects" / "MVA"
    folder = experiment_in(project / "experiments" / "weather", with_settings("corpus: ../../shared"))
    (folder / "corpus").rename(project / "shared")
    (folder / "corpus.csv").rename(project / "shared" / "corpus.csv")
    definition = read_definition(folder)
    assert definition.experiment.corpus == "../../shared"
    assert definition.documents[0].metadata == {"group": "sea"}
    assert thaw(freeze(definition, folder).__getitem__) == definition
    (project / "shared").rename(tmp_path / "projects" / "shared")
    (project / "shared").symlink_to(tmp_path / "projects" / "shared")
    assert any("lies outside" in problem.what for problem in refused(folder))


def test_two_tables_are_not_chosen_between(tmp_path: Path) -> None:
    folder = experiment_in(tmp_path / "weather")
    (folder / "corpus" / "corpus.csv").write_text("file\none.txt\n")
    assert any("another table" in problem.what for problem in refused(folder))


def test_a_folder_without_experiment_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    assert refused(tmp_path)[0].file.endswith("/experiment.md")
    assert read_experiment(tmp_path / "experiment.md")[0] is None


def frozen_files(folder: Path) -> tuple[Definition, dict[str, bytes]]:
    definition = read_definition(folder)
    return definition, freeze(definition, folder)


def test_what_is_frozen_are_the_authors_bytes_and_it_thaws_to_the_same_definition(tmp_path: Path) -> None:
    folder = experiment_in(tmp_path / "weather")
    (folder / "corpus" / "two.txt").write_bytes(b"\xef\xbb\xbfStill\r\nwater.")
    definition, files = frozen_files(folder)
    assert set(files) == {
        "experiment_snapshot.md",
        "framework_snapshot.md",
        "corpus_manifest.json",
        "corpus/one.txt",
        "corpus/two.txt",
    }
    assert files["experiment_snapshot.md"] == (folder / "experiment.md").read_bytes()
    assert files["framework_snapshot.md"] == (folder / "framework.md").read_bytes()
    assert files["corpus/two.txt"] == b"\xef\xbb\xbfStill\r\nwater."
    assert thaw(files.__getitem__) == definition
    assert freeze(definition, folder) == files
    manifest = json.loads(files["corpus_manifest.json"])
    assert manifest["format"] == 1
    assert manifest["experiment"]["runs_per_model"] == 3
    assert manifest["documents"][0]["metadata"] == {"group": "sea"}


def test_the_published_experiment_freezes_and_thaws(shared: Path) -> None:
    definition = read_definition(shared / "experiment_3", models=["offline/lexicon"], runs=2)
    assert thaw(freeze(definition, shared / "experiment_3").__getitem__) == definition


@pytest.mark.parametrize(
    "name", ["experiment_snapshot.md", "framework_snapshot.md", "corpus_manifest.json", "corpus/one.txt"]
)
def test_a_damaged_or_missing_frozen_file_is_named(tmp_path: Path, name: str) -> None:
    _, files = frozen_files(experiment_in(tmp_path / "weather"))
    changed = files[name].replace(b"a", b"o", 1)
    assert changed != files[name]
    for broken in (
        {**files, name: changed},
        {**files, name: b""},
        {each: files[each] for each in files if each != name},
    ):
        with pytest.raises(SnapshotDamaged) as raised:
            thaw(broken.__getitem__)
        assert raised.value.name == name


def test_a_file_that_changes_between_reading_and_freezing_is_refused(tmp_path: Path) -> None:
    folder = experiment_in(tmp_path / "weather")
    definition = read_definition(folder)
    (folder / "corpus" / "one.txt").write_text("Another text.")
    with pytest.raises(InvalidDefinition, match=r"weather/corpus/one\.txt: the file changed"):
        freeze(definition, folder)


def test_nothing_differs_where_nothing_has_changed(tmp_path: Path) -> None:
    folder = experiment_in(tmp_path / "weather")
    frozen = thaw(frozen_files(folder)[1].__getitem__)
    assert differences(frozen, read_definition(folder)) == ()
    assert differences(frozen, read_definition(folder, concurrency=9)) == ()


def test_every_change_that_matters_is_put_in_words(tmp_path: Path) -> None:
    folder = experiment_in(tmp_path / "weather")
    frozen = thaw(frozen_files(folder)[1].__getitem__)
    assert differences(frozen, read_definition(folder, runs=5)) == ("runs_per_model: 3 → 5",)
    settings = "parameters: {default: {temperature: 0}}\nanalysis_variant: [default, brief]\nextraction_model: a/b"
    (folder / "experiment.md").write_text(with_settings(settings))
    (folder / "framework.md").write_text(FRAMEWORK.replace('"version": "1"', '"version": "2"'))
    (folder / "corpus" / "one.txt").write_text("Changed.")
    (folder / "corpus" / "two.txt").rename(folder / "corpus" / "three.txt")
    (folder / "corpus.csv").write_text("file,group\none.txt,lake\nthree.txt,land\n")
    live = read_definition(folder, models=["gemini/gemini-2.5-flash", "offline/lexicon"])
    assert differences(frozen, live) == (
        "the text of experiment.md has changed",
        "the text of the framework has changed (version 1 → 2)",
        "model 'offline/lexicon' has been added",
        "variant 'brief' has been added",
        "parameters of model 'gemini/gemini-2.5-flash': the vendor's defaults → temperature 0.0",
        "extraction_model: not set → a/b",
        "corpus.csv has changed for document 'one' (group)",
        "document 'three' has been added",
        "document 'two' has been removed",
        "the text of document 'one' has changed",
    )


def test_a_changed_budget_is_told_with_what_changes_that_of_the_session(tmp_path: Path) -> None:
    folder = experiment_in(tmp_path / "weather", with_settings("budget_usd: 0.1"))
    frozen = thaw(frozen_files(folder)[1].__getitem__)
    (folder / "experiment.md").write_text(with_settings("budget_usd: 5"))
    assert differences(frozen, read_definition(folder)) == (
        "the text of experiment.md has changed",
        "budget_usd: 0.1 → 5.0 (for new sessions; for this one: `starter.py budget SESSION --set USD`)",
    )


def test_a_change_of_who_may_answer_and_who_may_see_the_texts_is_put_in_words(tmp_path: Path) -> None:
    before = "parameters: {a/b: {seed: 1}}\nfallback_models: [a/b]\ndata_policy: {vendors: [gemini], retention: none}"
    folder = experiment_in(tmp_path / "weather", with_settings(before))
    frozen = thaw(frozen_files(folder)[1].__getitem__)
    assert differences(frozen, read_definition(folder)) == ()
    after = (
        "models: [gemini/gemini-2.5-flash, e/f]\nparameters: {a/b: {seed: 2}}\n"
        "fallback_models: [a/b, c/d]\nallow_substitution: true\npin_versions: true\nblind: true\n"
        "synthesis_model: default\ndata_policy: {vendors: [], regions: [eu]}"
    )
    (folder / "experiment.md").write_text(with_settings(after))
    assert differences(frozen, read_definition(folder)) == (
        "the text of experiment.md has changed",
        "model 'e/f' has been added",
        "parameters of model 'a/b': seed 1 → seed 2",
        "fallbacks of model 'gemini/gemini-2.5-flash': a/b → a/b, c/d",
        "synthesis_model: not set → default",
        "allow_substitution: false → true",
        "pin_versions: false → true",
        "blind: false → true",
        "data_policy, vendors: [gemini] → []",
        "data_policy, regions: not set → [eu]",
        "data_policy, retention: none → not set",
    )
    (folder / "experiment.md").write_text(EXPERIMENT)
    assert "fallbacks of model 'gemini/gemini-2.5-flash': a/b → none" in differences(frozen, read_definition(folder))


def test_a_session_frozen_before_these_settings_existed_is_read_as_without_them(tmp_path: Path) -> None:
    folder = experiment_in(tmp_path / "weather")
    definition, files = frozen_files(folder)
    manifest = json.loads(files["corpus_manifest.json"])
    for key in ("fallback_models", "allow_substitution", "data_policy"):
        del manifest["experiment"][key]
    del manifest["manifest_sha256"]
    manifest["manifest_sha256"] = sha256(canonical_json(manifest)).hexdigest()
    earlier = {**files, "corpus_manifest.json": json.dumps(manifest).encode()}
    assert thaw(earlier.__getitem__) == definition
    assert differences(thaw(earlier.__getitem__), read_definition(folder)) == ()


def test_an_experiment_is_found_by_name_by_project_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    projects = tmp_path / "projects"
    folder = experiment_in(projects / "MVA" / "experiments" / "weather")
    alone = experiment_in(tmp_path / "alone")
    monkeypatch.chdir(tmp_path)
    for given in (
        "weather",
        "MVA/weather",
        str(folder),
        "projects/MVA/experiments/weather/",
        f"{folder}/experiment.md",
    ):
        assert find_experiment(given, projects) == folder
    assert find_experiment("alone", projects) == alone
    assert (project_of(folder), project_of(alone)) == ("MVA", "local")


def test_an_unknown_or_ambiguous_name_lists_what_there_is(tmp_path: Path) -> None:
    projects = tmp_path / "projects"
    with pytest.raises(ExperimentNotFound, match="none at all"):
        find_experiment("weather", projects)
    for project in ("MVA", "other"):
        experiment_in(projects / project / "experiments" / "weather")
    with pytest.raises(ExperimentNotFound, match="MVA/weather, other/weather"):
        find_experiment("weather", projects)
    with pytest.raises(ExperimentNotFound, match=r"did you mean 'MVA/weather'\? There are: MVA/weather, other/weather"):
        find_experiment("MVA/wether", projects)
    with pytest.raises(ExperimentNotFound, match=r"holds no experiment\.md"):
        find_experiment(str(projects), projects)
    with pytest.raises(ExperimentNotFound):
        find_experiment("", projects)
