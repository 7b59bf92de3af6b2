"""The Compose stack, as far as it can be judged without a container engine: its form, its promises, its scripts.

``data/compose-spec.json`` is the Compose Specification's own schema (Apache-2.0, see ``data/LICENSE.compose-spec``),
as distributed with check-jsonschema 0.39.0.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from discernus.settings import Settings
from tests.running import PATIENCE_S
from workflows.policies import CALL_GRACE_S

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(__file__).parent / "data"
ONE_SHOT = {"temporal-schema", "temporal-namespace", "starter"}
CHAIN = ["postgres", "temporal-schema", "temporal", "temporal-namespace", "temporal-ui"]
DRAIN_S = 360
SEARCH_ATTRIBUTES = {
    "DiscernusProject": "Keyword",
    "DiscernusExperiment": "Keyword",
    "DiscernusSession": "Keyword",
    "DiscernusStatus": "Keyword",
    "DiscernusStore": "Keyword",
    "DiscernusModels": "KeywordList",
}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text()))


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return dict(compose["services"])


def seconds(duration: str) -> float:
    parts = re.findall(r"(\d+)(h|ms|m|s)", duration)
    assert "".join(number + unit for number, unit in parts) == duration
    return sum(int(number) * {"h": 3600, "m": 60, "s": 1, "ms": 0.001}[unit] for number, unit in parts)


def condition(service: dict[str, Any], upon: str) -> str | None:
    stated = service.get("depends_on", {}).get(upon, {}).get("condition")
    return None if stated is None else str(stated)


def test_the_file_meets_the_compose_specification(compose: dict[str, Any]) -> None:
    schema = json.loads((DATA / "compose-spec.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    assert [error.message for error in validator.iter_errors(compose)] == []
    misspelt = {**compose, "services": {"worker": {"image": "discernus:0.1.0", "helthcheck": {}}}}
    assert any("helthcheck" in error.message for error in validator.iter_errors(misspelt))


def test_every_image_is_pinned_to_a_version(services: dict[str, dict[str, Any]]) -> None:
    images = [service["image"] for service in services.values()]
    dockerfile = (REPOSITORY / "deploy" / "Dockerfile").read_text()
    images += re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert all(re.search(r":\d+\.\d+", image) for image in images), images
    assert re.search(r"pip install \S* ?uv==\d+\.\d+\.\d+", dockerfile)


def test_server_and_admin_tools_have_the_same_version(services: dict[str, dict[str, Any]]) -> None:
    versions = {name: services[name]["image"].partition(":")[2] for name in CHAIN[1:4]}
    assert len(set(versions.values())) == 1, versions


def test_every_published_port_is_bound_to_loopback(services: dict[str, dict[str, Any]]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert len(published) == 2
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in published), published
    assert all(service.get("network_mode") is None for service in services.values())


def test_every_service_that_stays_has_a_health_check_and_comes_back(services: dict[str, dict[str, Any]]) -> None:
    staying = {name: service for name, service in services.items() if name not in ONE_SHOT}
    assert set(staying) == {"postgres", "temporal", "temporal-ui", "worker"}
    for name, service in staying.items():
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name


def test_a_stopped_worker_has_time_to_finish_what_is_paid_for(services: dict[str, dict[str, Any]]) -> None:
    stated = re.fullmatch(r"\$\{WORKER_STOP_GRACE_PERIOD:-(\w+)\}", services["worker"]["stop_grace_period"])
    assert stated is not None
    longest_call_s = Settings.model_fields["response_timeout_s"].default + CALL_GRACE_S
    assert seconds(stated[1]) > max(DRAIN_S, longest_call_s)


def test_workers_can_be_scaled_and_share_the_projects_with_the_starter(services: dict[str, dict[str, Any]]) -> None:
    worker, starter = services["worker"], services["starter"]
    assert "container_name" not in worker
    assert "ports" not in worker
    assert worker["command"] == ["python", "worker.py"]
    assert worker["volumes"] == starter["volumes"]
    for service in (worker, starter):
        assert service["environment"]["DISCERNUS_TEMPORAL"] == "temporal:7233"
        assert service["environment"]["DISCERNUS_PROJECTS_DIR"] == "/projects"
        assert service["volumes"][0].endswith(":/projects")
    assert starter["profiles"] == ["run"]


def test_each_step_waits_for_the_one_before_it(services: dict[str, dict[str, Any]]) -> None:
    for before, after in pairwise(CHAIN):
        wanted = "service_completed_successfully" if before in ONE_SHOT else "service_healthy"
        assert condition(services[after], before) == wanted, after
    assert condition(services["worker"], "temporal-namespace") == "service_completed_successfully"
    assert condition(services["starter"], "worker") == "service_healthy"


def test_no_secret_stands_in_the_file(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|PWD|KEY|SECRET|TOKEN", variable):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), f"{name}: {variable}"
    example = (REPOSITORY / "deploy" / "example.env").read_text()
    assert re.search(r"^POSTGRES_PASSWORD=$", example, re.MULTILINE)
    ignored = (REPOSITORY / ".gitignore").read_text().split()
    assert ".env" in ignored


def test_data_lies_in_volumes_that_the_file_names(compose: dict[str, Any]) -> None:
    mounts = [mount for service in compose["services"].values() for mount in service.get("volumes", [])]
    sources = {mount.split(":")[0] for mount in mounts if not mount.startswith(("./", "${"))}
    assert sources == set(compose["volumes"])
    assert "postgres-data:/var/lib/postgresql/data" in mounts


def test_every_file_that_the_stack_mounts_or_copies_is_there(services: dict[str, dict[str, Any]]) -> None:
    scripts = [services[name]["entrypoint"][1] for name in ("temporal-schema", "temporal-namespace")]
    scripts.append(services["temporal"]["environment"]["DYNAMIC_CONFIG_FILE_PATH"])
    for script in scripts:
        assert (REPOSITORY / "deploy" / "temporal" / Path(script).relative_to("/deploy")).is_file()
    dockerfile = (REPOSITORY / "deploy" / "Dockerfile").read_text()
    copied = [line.split()[1:-1] for line in dockerfile.splitlines() if re.match(r"COPY (?!--from)", line)]
    allowed = (REPOSITORY / "deploy" / "Dockerfile.dockerignore").read_text().split()
    for source in (each for line in copied for each in line):
        assert (REPOSITORY / source).exists()
        assert f"!{source}" in allowed


def test_the_image_runs_without_privileges_from_the_lock_file() -> None:
    dockerfile = (REPOSITORY / "deploy" / "Dockerfile").read_text()
    assert re.search(r"^USER (?!root)\w+", dockerfile, re.MULTILINE)
    assert "uv sync --frozen" in dockerfile


def test_the_server_keeps_one_partition_per_queue() -> None:
    settings = yaml.safe_load((REPOSITORY / "deploy" / "temporal" / "dynamic-config.yaml").read_text())
    for kind in ("Read", "Write"):
        assert settings[f"matching.numTaskqueue{kind}Partitions"] == [{"value": 1}]


def test_the_schema_script_prepares_both_databases_and_stops_at_a_failure(tmp_path: Path) -> None:
    script = REPOSITORY / "deploy" / "temporal" / "schema.sh"
    tool = tmp_path / "temporal-sql-tool"
    tool.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncase "$*" in *"$BROKEN"*) exit 1;; esac\n')
    tool.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(["/bin/sh", script], env={"PATH": path, "BROKEN": "nothing"}, check=True, capture_output=True)
    steps = [line.split() for line in (tmp_path / "asked").read_text().splitlines()]
    assert [(step[1], step[2]) for step in steps] == [
        (database, command)
        for database in ("temporal", "temporal_visibility")
        for command in ("create-database", "setup-schema", "update-schema")
    ]
    assert steps[2][-1].endswith("/temporal/versioned")
    assert steps[5][-1].endswith("/visibility/versioned")
    assert done.stdout.count(b"is ready") == 2
    (tmp_path / "asked").unlink()
    failed = subprocess.run(["/bin/sh", script], env={"PATH": path, "BROKEN": "setup-schema"}, capture_output=True)
    assert failed.returncode != 0
    assert len((tmp_path / "asked").read_text().splitlines()) == 2


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A real server and the environment that leads the namespace script to it."""
    binaries = Path(sys.executable).parent
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(binaries / "temporal"), "server", "start-dev", "--headless", "--ip", "127.0.0.1"]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen([*command, "--port", str(port)], stdout=log, stderr=log, start_new_session=True)
    try:
        yield {
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "TEMPORAL_ADDRESS": f"127.0.0.1:{port}",
            "RETENTION": "90d",
            "PAUSE": "0.2",
        }
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("namespace", ["default", "laboratory"])
def test_the_namespace_script_can_run_again_and_again(server: dict[str, str], namespace: str) -> None:
    environment = {**server, "TEMPORAL_NAMESPACE": namespace}

    def run(*command: str) -> str:
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60).stdout

    for _ in range(2):
        run("/bin/sh", str(REPOSITORY / "deploy" / "temporal" / "namespace.sh"))
    described = json.loads(run("temporal", "operator", "namespace", "describe", "--output", "json"))
    retention = described["config"]["workflowExecutionRetentionTtl"]
    assert retention == f"{90 * 24 * 3600}s"
    listed = run("temporal", "operator", "search-attribute", "list")
    assert dict(re.findall(r"(Discernus\w+)\s+(\w+)", listed)) == SEARCH_ATTRIBUTES


def test_the_namespace_script_gives_up_with_a_reason_where_no_server_is(tmp_path: Path) -> None:
    binaries = Path(sys.executable).parent
    environment = {
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "TEMPORAL_ADDRESS": "127.0.0.1:9",
        "TEMPORAL_NAMESPACE": "default",
        "RETENTION": "90d",
        "ATTEMPTS": "2",
        "PAUSE": "0",
    }
    script = REPOSITORY / "deploy" / "temporal" / "namespace.sh"
    done = subprocess.run(["/bin/sh", script], env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 1
    assert "127.0.0.1:9 is not healthy after 2 attempts" in done.stderr
