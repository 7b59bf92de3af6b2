"""The team's proxy, run for real: two LiteLLM processes on one Redis, between callers with keys and a fake vendor.

What needs neither process is judged first; the rest is skipped, with the reason, where redis-server or the proxy's own
environment is missing.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import jsonschema
import pytest
import yaml

from benchmarks.make_experiment import make_experiment
from discernus.llm.errors import CallFailed, Reply, classify
from tests.fake_vendor.faults import REFUSALS
from tests.proxy_running import (
    ALLOWED_FAILS,
    COOLDOWN_S,
    FOLDER,
    MASTER_KEY,
    TEXT,
    Lab,
    Said,
    lab_running,
    secrets_of,
    stop,
    why_not_here,
)
from tests.running import REPOSITORY, Starter, ended, environment, session_folder, wait_until

MANUAL = (REPOSITORY / "docs/proxy.md").read_text(encoding="utf-8")
PRICED = "openai/gpt-4o-mini"
BURST = 12


def model(name: str, **settings: Any) -> dict[str, Any]:
    """Return an entry of config.yaml's model_list for a model of the fake vendor, which has no price."""
    key = f"os.environ/{name.partition('/')[0].upper()}_API_KEY"
    return {"model_name": name, "litellm_params": {"model": name, "api_key": key, **settings}}


MODELS = [
    *(model(f"{vendor}/scribe", cooldown_time=0) for vendor in ("openai", "anthropic", "gemini")),
    model("openai/narrow", rpm=3),
    model("openai/single", rpm=1),
    model("openai/short", tpm=60),
    model("openai/failing"),
    model("openai/denied"),
    model("openai/priced", input_cost_per_token=0.001, output_cost_per_token=0.002),
    model("gemini/versioned") | {"model_info": {"base_model": "gemini/gemini-2.5-flash"}},
]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    missing = why_not_here()
    if missing is not None:
        pytest.skip(missing)
    with lab_running(tmp_path_factory.mktemp("lab"), MODELS) as lab:
        yield lab


@pytest.fixture
def lab(running: Lab) -> Iterator[Lab]:
    """Return the running whole, with a vendor that has no faults."""
    yield running
    running.vendor.control(reset=True)


def failure(said: Said, name: str = "openai/scribe") -> CallFailed:
    """Return what a refusal means to the gateway, as it reads it off the wire."""
    headers = {header.lower(): value for header, value in said.headers.items()}
    return classify(RuntimeError(), name, reply=Reply(said.status, headers, said.body), sent=True)


def burst(lab: Lab, user: str, name: str = "openai/scribe") -> list[Said]:
    """Ask at once, half of it through either proxy."""
    with ThreadPoolExecutor(BURST) as pool:
        return list(pool.map(lambda number: lab.ask(user, name, by=number % 2), range(BURST)))


def module(name: str) -> ModuleType:
    """Return a module of deploy/litellm that needs nothing of LiteLLM."""
    spec = importlib.util.spec_from_file_location(f"proxy_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


# What stands in deploy/litellm


def test_its_environment_is_its_own_pinned_exactly_and_locked_with_hashes() -> None:
    wanted = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]["dependencies"]
    assert "litellm[proxy]==1.106.2" in wanted
    locked = tomllib.loads((FOLDER / "uv.lock").read_text())["package"]
    assert [package["version"] for package in locked if package["name"] == "litellm"] == ["1.106.2"]
    for package in locked:
        if package["source"] != {"virtual": "."}:
            files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
            assert files, package["name"]
            assert all(file["hash"].startswith("sha256:") for file in files), package["name"]
    ours = tomllib.loads((REPOSITORY / "uv.lock").read_text())["package"]
    assert "litellm-proxy-extras" not in {package["name"] for package in ours}


def test_no_secret_stands_in_its_configuration_and_every_model_has_a_price() -> None:
    config = yaml.safe_load((FOLDER / "config.yaml").read_text())
    for entry in config["model_list"]:
        assert entry["litellm_params"]["api_key"].startswith("os.environ/")
        assert entry["model_info"]["base_model"] == entry["litellm_params"]["model"] == entry["model_name"]
    general = config["general_settings"]
    for secret in (config["router_settings"]["redis_password"], general["coordination_redis"]["password"]):
        assert secret == "os.environ/REDIS_PASSWORD"
    assert general["master_key"] == "os.environ/LITELLM_MASTER_KEY"
    assert "cache" not in config["litellm_settings"], "answers are never given twice"
    example = (FOLDER / "example.env").read_text()
    for variable in re.findall(r"os\.environ/(\w+)", (FOLDER / "config.yaml").read_text()):
        assert re.search(rf"^{variable}=", example, re.MULTILINE) or variable.startswith("HOUSE_"), variable
    for variable in re.findall(r"^(\w*(?:KEY|PASSWORD))=(.*)$", example, re.MULTILINE):
        assert variable[1] == "", variable


def test_it_refuses_to_start_without_what_it_needs_and_says_what() -> None:
    started = subprocess.run(
        [sys.executable, FOLDER / "serve.py"], env={"REDIS_HOST": "x"}, capture_output=True, text=True, timeout=60
    )
    assert started.returncode == 1
    for variable in ("LITELLM_MASTER_KEY", "REDIS_PORT", "PROXY_USERS_FILE", "PROXY_AUDIT_DIR", "example.env"):
        assert variable in started.stderr
    assert "Traceback" not in started.stderr


def test_the_example_of_users_is_valid_and_a_new_key_fits_into_it(tmp_path: Path) -> None:
    users = module("users")
    example = yaml.safe_load((FOLDER / "users.example.yaml").read_text())
    made = subprocess.run(
        [sys.executable, FOLDER / "new_key.py"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    key, key_sha256 = (line.split()[-1] for line in made.splitlines())
    example["users"]["ada"]["key_sha256"].append(key_sha256)
    path = tmp_path / "users.yaml"
    path.write_text(yaml.safe_dump(example))
    file = users.UsersFile(path)
    assert file.holder(key) == "ada"
    assert file.rights("ada").budget_usd_per_month == 50
    assert file.holder(key_sha256) is None, "the hash is no key"


HASH = "0" * 64


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("users: {}", "begin with a copy of users.example.yaml"),
        ("users: [", "cannot be read"),
        ("users: {ada: {key_sha256: [sk-plain], models: ['*']}}", "ada.key_sha256.0: String should match pattern"),
        (f"users: {{ada: {{key_sha256: ['{HASH}'], models: ['*'], rpm: 3}}}}", "ada.rpm: Extra inputs"),
        (
            f"users: {{a: &same {{key_sha256: ['{HASH}'], models: ['*']}}, b: *same}}",
            "b and a have the same key",
        ),
    ],
)
def test_a_file_of_users_that_cannot_be_used_says_what_is_wrong(tmp_path: Path, written: str, told: str) -> None:
    users = module("users")
    path = tmp_path / "users.yaml"
    path.write_text(written)
    with pytest.raises(users.UsersInvalid, match=re.escape(told)) as raised:
        users.UsersFile(path)
    assert "sk-plain" not in str(raised.value)


def test_a_file_of_users_that_is_spoilt_later_changes_nothing(tmp_path: Path) -> None:
    users = module("users")
    path = tmp_path / "users.yaml"
    path.write_text((FOLDER / "users.example.yaml").read_text())
    file = users.UsersFile(path)
    path.write_text("users: {ada: {models: nothing}}")
    assert file.holder("sk-unknown") is None
    assert file.rights("ada").in_flight == 16


def test_spending_is_what_the_audit_log_of_all_processes_says_for_this_month(tmp_path: Path) -> None:
    audit = module("audit")
    one, other = audit.AuditLog(tmp_path), audit.AuditLog(tmp_path)
    one.append("answered", user="ada", cost_usd=0.25)
    other._writer += "-other"
    other.append("answered", user="ada", cost_usd=0.5)
    other.append("answered", user="ben", cost_usd=4.0)
    other.append("answered", user="ada", cost_usd=None)
    other.append("failed", user="ada")
    (tmp_path / "audit_2001-01_long-ago.jsonl").write_text('{"user": "ada", "cost_usd": 100.0}\n')
    assert one.spent_usd("ada") == other.spent_usd("ada") == 0.75
    (cut_off,) = tmp_path.glob("*-other.jsonl")
    with cut_off.open("a") as file:
        file.write('{"user": "ada", "cost_usd": 1.')  # a line on its way, or the last of a process that was killed
    assert one.spent_usd("ada") == 0.75
    with cut_off.open("a") as file:
        file.write("0}\n")
    assert one.spent_usd("ada") == 1.75
    assert audit.AuditLog(tmp_path).spent_usd("ada") == 1.75


def test_the_operator_can_see_what_each_has_spent(tmp_path: Path) -> None:
    audit = module("audit").AuditLog(tmp_path)
    for number, end in enumerate(({"cost_usd": 0.25}, {"cost_usd": None}, {"cost_usd": 0.5}, None)):
        audit.append("asked", id=number, user="ada")
        if end is not None:
            audit.append("answered", id=number, user="ada", **end)
    audit.append("failed", id=9, user="ben", status=403)
    audit.append("failed", id=10, user=None, status=401)
    told = subprocess.run(
        [sys.executable, FOLDER / "spending.py", tmp_path], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert [line.split() for line in told.splitlines()[1:]] == [
        ["ada", "4", "3", "0", "1", "1", "0.7500"],
        ["ben", "0", "0", "1", "0", "0", "0.0000"],
    ]


def test_the_manual_names_what_there_is() -> None:
    for name in set(re.findall(r"deploy/litellm/([\w.]+\w)", MANUAL)) - {".env", "users.yaml", "audit"}:
        assert (FOLDER / name).is_file(), name
    for field in module("users").User.model_fields:
        assert f"`{field}`" in MANUAL, field
    for setting in re.findall(r"^  (allowed_fails|cooldown_time): (\d+)$", (FOLDER / "config.yaml").read_text(), re.M):
        assert re.search(rf"`{setting[0]}` \({setting[1]}\b", MANUAL), setting


def test_its_part_of_the_compose_stack_is_opt_in_pinned_and_lets_nothing_else_out() -> None:
    stack = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    part = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    schema = json.loads((REPOSITORY / "tests/data/compose-spec.json").read_text())
    assert [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(part)] == []
    added = {name: service for name, service in part["services"].items() if name not in stack["services"]}
    assert set(added) == {"redis", "proxy"}
    for service in added.values():
        assert service["profiles"] == ["proxy"]
        assert service["healthcheck"]["test"]
        assert re.search(r":\d+\.\d+\.\d+$", service["image"])
    assert "ports" not in added["redis"]
    assert all(port.startswith("127.0.0.1:") for port in added["proxy"]["ports"])
    assert "/health/readiness" in added["proxy"]["healthcheck"]["test"][-1]
    for name in ("worker", "starter"):
        assert part["services"][name]["environment"]["LLM_REQUIRE_PROXY"] == "true"
        assert part["services"][name]["environment"]["DISCERNUS_PROXY_URL"] == "http://proxy:4000"


def test_its_image_holds_what_it_runs_and_nothing_else() -> None:
    dockerfile = (FOLDER / "Dockerfile").read_text()
    allowed = (FOLDER / "Dockerfile.dockerignore").read_text().split()
    copied = [name for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.MULTILINE) for name in line.split()]
    files = set(copied) - {"./"}
    assert files == {name.removeprefix("!") for name in allowed if name.startswith("!")}
    assert all((FOLDER / name).is_file() for name in files)
    assert {path.name for path in FOLDER.glob("*.py")} <= files
    assert "uv sync --frozen" in dockerfile
    assert re.search(r"^USER (?!root)\w+", dockerfile, re.MULTILINE)
    assert all(re.search(r":\d+\.\d+\.\d+", image) for image in re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE))


# Answers


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "gemini"])
def test_an_answer_carries_the_vendors_own_name_of_the_model(lab: Lab, vendor: str) -> None:
    said = lab.ask("operator", f"{vendor}/scribe")
    assert said.status == 200
    assert said.json["model"] == f"{vendor}/scribe", "LiteLLM's own doing, which the header is the cure for"
    assert said.headers["x-provider-response-model"] == "scribe-2026-01-01"
    assert said.headers["x-litellm-attempted-fallbacks"] == "0"


def test_a_parameter_that_the_vendor_was_not_sent_is_named(lab: Lab) -> None:
    said = lab.ask("operator", "anthropic/claude-sonnet-4-5-20250929", seed=3, temperature=0.2)
    assert said.headers["x-dropped-parameters"] == "seed"
    assert "x-dropped-parameters" not in lab.ask("operator", "openai/scribe", seed=3, temperature=0.2).headers


def test_the_vendor_is_told_which_call_it_is(lab: Lab) -> None:
    lab.ask("operator", headers={"Idempotency-Key": "0123-lab/hope/session-017"})
    assert lab.vendor.requests()[-1].idempotency_key == "0123-lab/hope/session-017"


def test_a_version_that_no_table_knows_costs_what_was_asked_for_and_never_zero(lab: Lab) -> None:
    assert lab.ask("operator", "gemini/versioned").headers["x-provider-response-model"] == "versioned-2026-01-01"
    (line,) = [line for line in lab.audit("operator") if line["model"] == "gemini/versioned" and "cost_usd" in line]
    assert line["cost_usd"] == pytest.approx(line["prompt_tokens"] * 0.3e-6 + line["completion_tokens"] * 2.5e-6)


def test_a_model_without_a_price_costs_null(lab: Lab) -> None:
    lab.let_in("ida")
    said = lab.ask("ida", "openai/scribe")
    assert lab.audit("ida")[-1]["cost_usd"] is None
    assert "x-litellm-response-cost" not in said.headers


def test_no_answer_is_ever_given_twice(lab: Lab) -> None:
    before = lab.asked("openai/scribe")
    for _ in range(2):
        assert lab.ask("operator", headers={"Cache-Control": "max-age=600"}).status == 200
    assert lab.asked("openai/scribe") == before + 2


# Who may ask, and what


def test_a_key_that_nobody_has_is_refused(lab: Lab) -> None:
    before = lab.requests
    for key in ("sk-nobody", None, MASTER_KEY):
        said = lab.ask(key)
        assert (said.status, failure(said).error_class) == (401, "authentication")
    assert lab.requests == before


def test_a_user_gets_the_models_of_the_file_and_no_others_not_even_as_fallbacks(lab: Lab) -> None:
    lab.let_in("eve", models=["openai/*"])
    before = lab.asked("anthropic/scribe")
    assert lab.ask("eve", "openai/scribe").status == 200
    for said in (lab.ask("eve", "anthropic/scribe"), lab.ask("eve", "openai/scribe", fallbacks=["anthropic/scribe"])):
        assert (said.status, failure(said).error_class) == (403, "permission")
        assert "eve may not use anthropic/scribe, but openai/*" in said.json["error"]["message"]
    assert lab.asked("anthropic/scribe") == before


def test_what_could_not_be_accounted_for_is_not_served(lab: Lab) -> None:
    before = lab.requests
    odd: list[dict[str, Any]] = [
        {"stream": True},
        {"max_retries": 3},
        {"context_window_fallbacks": [{"openai/scribe": ["gemini/scribe"]}]},
        {"fallbacks": [{"model": "gemini/scribe"}]},
    ]
    for fields in odd:
        assert lab.ask("operator", **fields).status == 400, fields
    assert lab.ask("operator", "openai/scribe,gemini/scribe").status == 400, "LiteLLM would ask both"
    assert lab.ask("operator", api_base="http://127.0.0.1:9").status >= 400
    assert lab.get("/health", "operator").status == 404, "it would make a paid call for each model"
    assert lab.get("/model/info", "operator").status == 404
    assert lab.get("/model/info").status == 401
    body = {"model": "openai/scribe", "input": TEXT}
    key = {"Authorization": f"Bearer {lab.keys['operator']}"}
    for path in ("/embeddings", "/v1/responses", "/v1/messages", "/openai/v1/chat/completions"):
        assert lab.client.post(f"{lab.urls[0]}{path}", headers=key, json=body).status_code == 404, path
    assert lab.requests == before


def test_its_health_can_be_asked_without_a_key_and_costs_nothing(lab: Lab) -> None:
    before = lab.requests
    for number in (0, 1):
        assert lab.get("/health/liveliness", by=number).status == 200
        ready = lab.get("/health/readiness", by=number)
        assert (ready.status, ready.json["status"]) == (200, "healthy")
    assert lab.requests == before


# Limits over both processes


def test_a_users_requests_per_minute_hold_over_both_processes(lab: Lab) -> None:
    lab.let_in("max", requests_per_minute=4)
    said = burst(lab, "max")
    assert Counter(each.status for each in said) == {200: 4, 429: BURST - 4}
    refused = next(each for each in said if each.status == 429)
    assert failure(refused).error_class == "rate_limit"
    assert refused.retry_after_s == 5
    assert lab.ask("operator").status == 200, "nobody else is held back"


def test_a_users_tokens_per_minute_hold_over_both_processes(lab: Lab) -> None:
    lab.let_in("ulf", tokens_per_minute=300)
    said = [lab.ask("ulf", by=number % 2) for number in range(BURST)]
    used = sum(each.json["usage"]["total_tokens"] for each in said if each.status == 200)
    assert 0 < used <= 300
    assert {each.status for each in said} == {200, 429}


def test_a_users_calls_in_flight_hold_over_both_processes(lab: Lab) -> None:
    lab.let_in("tom", in_flight=2)
    before = lab.requests
    lab.vendor.control(hold=True)
    with ThreadPoolExecutor(2) as pool:
        held = [pool.submit(lab.ask, "tom", by=number) for number in (0, 1)]
        lab.vendor.wait_for(requests=before + 2)
        third = lab.ask("tom")
        lab.vendor.control(hold=False)
        assert [each.result().status for each in held] == [200, 200]
    assert (third.status, third.retry_after_s) == (429, 1)
    wait_until(lambda: lab.ask("tom").status == 200, "there is room again")


def test_a_models_requests_per_minute_hold_over_both_processes(lab: Lab) -> None:
    before, minute = lab.asked("openai/narrow"), time.time() // 60
    said = burst(lab, "operator", "openai/narrow")
    minutes = int(time.time() // 60 - minute) + 1  # it counts by the minute of the clock
    served = sum(each.status == 200 for each in said)
    assert 3 <= served <= 3 * minutes
    assert lab.asked("openai/narrow") == before + served
    refused = [each for each in said if each.status != 200]
    assert {each.status for each in refused} == {429}
    for each in refused:  # some by the minute, some while the proxy they asked had three calls in flight
        assert failure(each).error_class == "rate_limit"
        assert 0 < (each.retry_after_s or 0) <= 60
        assert failure(each).retry_after_s == each.retry_after_s, "not the 60 that LiteLLM adds at any time"


def test_a_models_calls_in_flight_hold_in_each_process_and_never_close_it(lab: Lab) -> None:
    """LiteLLM lets no more of them go out at a time than in a minute, and says no word of when to come back."""
    before = lab.requests
    lab.vendor.control(hold=True)
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(lab.ask, "operator", "openai/single")
        lab.vendor.wait_for(requests=before + 1)
        said = [lab.ask("operator", "openai/single") for _ in range(ALLOWED_FAILS + 2)]
        lab.vendor.control(hold=False)
        assert held.result().status == 200
    for each in said:
        assert (each.status, each.retry_after_s, failure(each).error_class) == (429, 1, "rate_limit")
        assert "max_parallel_requests" in each.body
    assert not any("cooldown" in each.body for each in said)


def test_a_models_tokens_per_minute_hold_over_both_processes(lab: Lab) -> None:
    def limited() -> bool:
        return all(lab.ask("operator", "openai/short", by=number).status == 429 for number in (0, 1))

    wait_until(limited, "both processes know that the minute's tokens are used up")


def test_the_proxys_own_limits_never_close_a_model(lab: Lab) -> None:
    """LiteLLM would count them as failures, after which nobody is served, and longer than the minute."""
    said = [lab.ask("operator", "openai/narrow") for _ in range(2 * 3 + ALLOWED_FAILS + 2)]  # in two minutes at most
    refused = [each for each in said if each.status == 429]
    assert len(refused) >= ALLOWED_FAILS + 2
    assert all("RPM limit=3" in each.body for each in refused), "none of them by a cooldown"


# Budgets


def test_a_spent_budget_stops_calls_through_either_process_until_it_is_raised(lab: Lab) -> None:
    lab.let_in("ben")
    assert lab.ask("ben", "openai/priced").status == 200
    price = lab.audit("ben")[-1]["cost_usd"]
    assert price == pytest.approx(_cost(lab.audit("ben")[-1]))
    lab.let_in("ben", budget_usd_per_month=2.5 * price)
    assert [lab.ask("ben", "openai/priced", by=number).status for number in (1, 0, 1, 0)] == [200, 200, 422, 422]

    said = lab.ask("ben", "openai/priced", by=1)
    assert said.json["error"]["type"] == "budget_exceeded"
    refused = failure(said)
    assert (refused.error_class, refused.stops_session) == ("budget", True)
    assert "ben has spent" in refused.message
    assert lab.asked("openai/priced") == 3

    lab.let_in("ben", budget_usd_per_month=10 * price)
    assert [lab.ask("ben", "openai/priced", by=number).status for number in (0, 1)] == [200, 200]


def _cost(line: dict[str, Any]) -> float:
    return float(line["prompt_tokens"] * 0.001 + line["completion_tokens"] * 0.002)


def test_a_budget_admits_no_model_whose_price_nobody_knows(lab: Lab) -> None:
    lab.let_in("kim", budget_usd_per_month=1)
    said = lab.ask("kim", "openai/scribe")
    assert (said.status, failure(said).error_class) == (403, "permission")
    assert "state its price in config.yaml" in said.body
    assert lab.ask("kim", PRICED).status == 200


# Failures


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "gemini"])
def test_an_error_means_the_same_behind_the_proxy_as_without_it(lab: Lab, vendor: str) -> None:
    name = f"{vendor}/scribe"
    for fault in sorted(REFUSALS):
        lab.vendor.control(reset=True, down={name: fault})
        direct, through = failure(_direct(lab, vendor), name), failure(lab.ask("operator", name), name)
        assert (through.error_class, through.retry_after_s) == (direct.error_class, direct.retry_after_s), fault


def _direct(lab: Lab, vendor: str) -> Said:
    """Return what the vendor itself says."""
    messages, contents = [{"role": "user", "content": TEXT}], [{"role": "user", "parts": [{"text": TEXT}]}]
    path, body = {
        "openai": ("/v1/chat/completions", {"model": "scribe", "messages": messages}),
        "anthropic": ("/v1/messages", {"model": "scribe", "messages": messages, "max_tokens": 50}),
        "gemini": ("/v1beta/models/scribe:generateContent", {"contents": contents}),
    }[vendor]
    answer = lab.client.post(f"{lab.vendor.base_url}{path}", json=body)
    return Said(answer.status_code, answer.headers, answer.text)


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("fault", ["malformed", "empty", "reset"])
def test_an_answer_that_cannot_be_read_is_no_fault_of_the_request(lab: Lab, vendor: str, fault: str) -> None:
    lab.vendor.control(down={f"{vendor}/scribe": fault})
    assert failure(lab.ask("operator", f"{vendor}/scribe")).kind == "transient"


def test_a_call_is_one_request_however_it_fails(lab: Lab) -> None:
    lab.vendor.control(down={"openai/scribe": "status_503"})
    before = lab.asked("openai/scribe")
    assert lab.ask("operator", headers={"x-litellm-num-retries": "2"}).status == 503
    assert lab.asked("openai/scribe") == before + 1


def test_another_model_answers_only_when_the_caller_says_which(lab: Lab) -> None:
    lab.vendor.control(down={"openai/scribe": "status_503"})
    before = lab.asked("gemini/scribe")
    assert lab.ask("operator").status == 503
    assert lab.ask("operator", disable_fallbacks=False).status == 503
    assert lab.asked("gemini/scribe") == before
    said = lab.ask("operator", fallbacks=["gemini/scribe"])
    assert said.status == 200
    assert said.headers["x-litellm-attempted-fallbacks"] == "1"
    ended_with = lab.audit("operator")[-1]
    assert (ended_with["model"], ended_with["fallbacks"]) == ("openai/scribe", 1)
    assert lab.asked("gemini/scribe") == before + 1


def test_a_model_that_fails_again_and_again_is_left_alone_by_both_processes_and_then_works_again(lab: Lab) -> None:
    lab.vendor.control(down={"openai/failing": "status_500"})
    assert [lab.ask("operator", "openai/failing").status for _ in range(ALLOWED_FAILS + 1)] == [500] * 3
    for number in (0, 1):
        closed = wait_until(partial(_ended_with, 429, lab, number), f"proxy {number} leaves the model alone")
        assert failure(closed).error_class == "rate_limit", "it is waited for, and costs no attempt"
        assert closed.retry_after_s <= COOLDOWN_S
    lab.vendor.control(reset=True)
    for number in (0, 1):
        wait_until(partial(_ended_with, 200, lab, number), f"proxy {number} serves the model again")


def _ended_with(status: int, lab: Lab, by: int) -> Said | None:
    said = lab.ask("operator", "openai/failing", by=by)
    return said if said.status == status else None


@pytest.mark.parametrize("fault", ["bad_key", "unknown_model", "rate_limit"])
def test_what_only_a_person_can_mend_is_seen_each_time_and_a_vendors_limit_is_passed_on(lab: Lab, fault: str) -> None:
    lab.vendor.control(down={"openai/denied": fault})
    said = [lab.ask("operator", "openai/denied") for _ in range(ALLOWED_FAILS + 3)]
    assert len({each.status for each in said}) == 1
    assert not any("cooldown" in each.body for each in said)
    if fault == "rate_limit":
        assert {each.headers["llm_provider-retry-after"] for each in said} == {"1"}
    lab.vendor.control(reset=True)
    assert lab.ask("operator", "openai/denied").status == 200


def test_the_operator_is_told_of_what_fails_and_of_spent_budgets_but_of_no_limit(lab: Lab) -> None:
    lab.let_in("ron", budget_usd_per_month=0, models=[PRICED])
    lab.let_in("lou", requests_per_minute=1)
    lab.vendor.control(down={"openai/scribe": "status_502"})
    lab.ask("ron", PRICED)
    lab.ask("lou", "anthropic/scribe")
    lab.ask("lou", "anthropic/scribe")
    lab.ask("operator")
    for told in (f"{PRICED} asked by ron: 422 BudgetSpent", "openai/scribe asked by operator: 502 BadGatewayError"):
        wait_until(partial(_was_told, lab, told), f"the webhook is told: {told}")
    assert not any("lou" in alert for alert in lab.webhook.texts)


def _was_told(lab: Lab, text: str) -> bool:
    return any(text in alert for alert in lab.webhook.texts)


# The audit log


def test_a_caller_who_has_gone_leaves_a_whole_account(lab: Lab) -> None:
    lab.let_in("zoe")
    before = lab.answers
    lab.vendor.control(hold=True)
    with pytest.raises(httpx.ReadTimeout):
        lab.ask("zoe", PRICED, timeout_s=1.0)
    lab.vendor.control(hold=False)
    lab.vendor.wait_for(answers=before + 1)
    wait_until(lambda: len(lab.audit("zoe")) == 2, "the answer that nobody waited for is accounted for")
    assert lab.audit("zoe")[-1]["cost_usd"] > 0


def test_an_experiment_run_through_it_is_complete_with_the_vendors_names_and_costs(lab: Lab, tmp_path: Path) -> None:
    lab.let_in("researcher")
    projects = tmp_path / "projects"
    names = [PRICED, "gemini/gemini-2.5-flash"]
    make_experiment(projects, models=names, documents=3, runs=2, words=60)
    env = environment(
        projects,
        DISCERNUS_PROXY_URL=lab.urls[1],
        LITELLM_PROXY_API_KEY=lab.keys["researcher"],
        LLM_REQUIRE_PROXY="true",
        NO_PROXY="127.0.0.1",
    )
    with ended(projects):
        starter = Starter(projects, "speeches", env=env)
        assert starter.wait(120) == 0, starter.output
        folder = session_folder(projects)
        with (folder / "deliverables/results.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert {(row["model_requested"], row["model_answered"]) for row in rows} == {
        (name, f"{name.partition('/')[2]}-2026-01-01") for name in names
    }
    ends = [line for line in lab.audit("researcher") if line["event"] == "answered"]
    assert len(ends) == 12
    assert min(line["cost_usd"] for line in ends) > 0
    assert sum(float(row["cost_usd"]) for row in rows) == pytest.approx(sum(line["cost_usd"] for line in ends))
    asked = [line for line in lab.audit("researcher") if line["event"] == "asked"]
    assert all(folder.name in line["idempotency_key"] for line in asked), "each call can be found in the session"


def test_without_its_redis_it_goes_on_and_budgets_still_hold(lab: Lab) -> None:
    """Only what is shared is lost: until Redis is back, each process counts for itself."""
    lab.let_in("sue", budget_usd_per_month=1e-9)
    stop(lab.redis)
    assert [lab.ask("sue", PRICED, by=number).status for number in (0, 1)] == [200, 422]
    assert [lab.ask("operator", by=number).status for number in (0, 1)] == [200, 200]
    assert [lab.get("/health/readiness", by=number).status for number in (0, 1)] == [200, 200]


def test_every_call_of_these_tests_is_in_the_audit_log_and_no_text_and_no_key_is_anywhere(lab: Lab) -> None:
    lines = lab.audit()
    asked = Counter(line["id"] for line in lines if line["event"] == "asked")
    ends = Counter(line["id"] for line in lines if line["event"] in ("answered", "failed") and line["id"] in asked)
    assert asked == ends, "each call that went out has one end"
    assert set(asked.values()) == {1}
    answered = [line for line in lines if line["event"] == "answered"]
    billed = [entry for entry in lab.vendor.answers() if entry.fault is None]
    assert sum(line["prompt_tokens"] for line in answered) == sum(entry.prompt_tokens or 0 for entry in billed)
    assert all(line["user"] in lab.users for line in lines if line["id"] in asked)
    assert all(line["model"] is None for line in lines if line["user"] is None), "what a stranger sends is not kept"
    assert all(f"`{field}`" in MANUAL for line in lines for field in line if field != "event")

    left = [path.read_text(errors="replace") for path in lab.audit_files()]
    for text in (*left, lab.logs(), *lab.webhook.texts):
        for hidden in (TEXT, *secrets_of(lab)):
            assert hidden not in text
