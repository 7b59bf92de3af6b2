"""The layout holds: imports go one way, the heavy library stays where it is used, modules stay small and well named."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("discernus", "workflows", "activities", "engine", "cli")
SCRIPTS = (REPOSITORY / "starter.py", REPOSITORY / "worker.py")
PRODUCT = sorted([*SCRIPTS, *(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))])
LONGEST = 500  # lines
COMPUTES = "discernus.statistics"  # its modules may load what they compute with, and are loaded where it is needed
COMPUTING = {"numpy", "scipy", "pandas", "matplotlib", "pyarrow"}
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc", "tools"}

# What each part of the core may import of the core; what they have in common stands in the package itself.
EVERYWHERE = {"discernus", "discernus.canonical", "discernus.sanitising"}
BELOW_PACKAGES = {
    "stages",
    "reports",
    "sessions",
    "extraction",
    "llm",
    "statistics",
    "experiments",
    "settings",
}
MAY_IMPORT = {
    "statistics": {"statistics", "experiments"},
    "experiments": {"experiments", "statistics"},
    "llm": {"llm", "experiments", "settings"},
    "extraction": {"extraction", "experiments"},
    "sessions": {"sessions", "llm", "extraction", "experiments", "settings"},
    "reports": {"reports", "extraction", "experiments", "statistics"},
    "stages": BELOW_PACKAGES,
    "packages": {"packages", *BELOW_PACKAGES},
    "migration": {"migration", *BELOW_PACKAGES},
    "audit": {"audit", *BELOW_PACKAGES},
    "settings": set(),
    "canonical": set(),
    "logs": set(),
    "sanitising": set(),
}
# What may be imported of us by whom, above the core.
# state machines that workflows keep: plain rules without clock, chance, input or output
PURE = {"discernus.llm.health", "discernus.sessions.accounts"}
LAYERS = {
    "discernus": {"discernus"},
    "workflows": {"workflows", "activities.border", *PURE},
    "activities": {"activities", "discernus"},
    "engine": {"engine", "workflows", "activities", "discernus"},
    "cli": {"cli", "engine", "workflows", "activities", "discernus"},
    "starter": {"cli", "discernus", "engine"},
    "worker": {"engine", "discernus"},
}


def module_of(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """Return every module that the file imports, wherever in the file it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            whole = f"{node.module}"
            names = {f"{whole}.{alias.name}" for alias in node.names}
            found |= {name for name in names if is_module(name)} or {whole}
    return found


def is_module(name: str) -> bool:
    path = REPOSITORY.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def within(module: str, parts: set[str]) -> bool:
    return any(module == part or module.startswith(f"{part}.") for part in parts)


def ours(path: Path) -> set[str]:
    return {name for name in imports_of(path) if within(name, {*PACKAGES, "starter", "worker", "tests", "benchmarks"})}


def test_what_is_checked_is_the_whole_product() -> None:
    assert len(PRODUCT) > 60
    assert {path.name for path in (REPOSITORY / "discernus").iterdir() if path.is_dir()} - {"__pycache__"} == {
        part for part in MAY_IMPORT if (REPOSITORY / "discernus" / part).is_dir()
    }


@pytest.mark.parametrize("path", [path for path in PRODUCT if "discernus" in path.parts[-3:]], ids=module_of)
def test_inside_the_core_imports_go_one_way(path: Path) -> None:
    part = module_of(path).split(".")
    if len(part) == 1:
        assert ours(path) == set()
        return
    allowed = {f"discernus.{name}" for name in MAY_IMPORT[part[1]]}
    assert {name for name in ours(path) if name not in EVERYWHERE and not within(name, allowed)} == set()


def test_the_core_knows_nothing_of_the_engine() -> None:
    for path in (REPOSITORY / "discernus").rglob("*.py"):
        assert not [name for name in imports_of(path) if within(name, {"temporalio"})], path


@pytest.mark.parametrize("path", PRODUCT, ids=module_of)
def test_imports_go_from_the_entry_points_to_the_core(path: Path) -> None:
    allowed = LAYERS[module_of(path).split(".")[0]]
    assert {name for name in ours(path) if not within(name, allowed)} == set()


def test_workflows_import_the_border_the_engines_library_and_python_alone() -> None:
    for path in (REPOSITORY / "workflows").glob("*.py"):
        for name in imports_of(path):
            known = within(name, {"workflows", "activities.border", "temporalio", *PURE})
            assert known or name.split(".")[0] in sys.stdlib_module_names, f"{path} imports {name}"


@pytest.mark.parametrize("name", sorted(PURE))
def test_what_workflows_keep_is_made_of_pydantic_and_plain_python(name: str) -> None:
    path = REPOSITORY / f"{name.replace('.', '/')}.py"
    for imported in imports_of(path):
        first = imported.split(".")[0]
        assert first == "pydantic" or first in sys.stdlib_module_names, f"{path} imports {imported}"
        assert first not in {"time", "random", "os", "asyncio", "datetime", "uuid"}


def test_the_border_is_light() -> None:
    outside = {name.split(".")[0] for name in imports_of(REPOSITORY / "activities" / "border.py")}
    assert outside - sys.stdlib_module_names == {"pydantic"}


def test_only_the_gateway_and_what_it_is_made_of_touch_litellm() -> None:
    using = {module_of(path) for path in PRODUCT if any(within(name, {"litellm"}) for name in imports_of(path))}
    assert using
    assert using <= {f"discernus.llm.{part}" for part in ("gateway", "wire", "offline", "prices", "forensics")}


def test_nothing_heavy_is_loaded_before_it_is_needed() -> None:
    apart = {"worker", COMPUTES}
    modules = [module_of(path) for path in PRODUCT if not within(module_of(path), apart)]
    program = "import importlib, sys\n" + "".join(f"importlib.import_module({name!r})\n" for name in modules)
    heavy = {"litellm", "openai", "tiktoken", "aiohttp", "httpx"} | COMPUTING
    program += f"print(sorted({heavy!r} & set(sys.modules)))"
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=120
    )
    assert "litellm" not in told.stdout, told.stdout
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize("path", PRODUCT, ids=module_of)
def test_a_module_is_small_and_says_first_what_it_is_for(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST
    told = ast.get_docstring(ast.parse("\n".join(lines)))
    assert told, "it opens with no word on what it is for"


def test_everything_has_a_name_that_says_something() -> None:
    every = [*PRODUCT, *(REPOSITORY / "tests").rglob("*.py"), *(REPOSITORY / "benchmarks").rglob("*.py")]
    for path in every:
        words = {word for part in path.relative_to(REPOSITORY).with_suffix("").parts for word in part.split("_")}
        assert not words & EMPTY_NAMES, path


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {module_of(path): {name for name in ours(path) if is_module(name)} for path in PRODUCT}
    sorter = TopologicalSorter({name: {to for to in wanted if to != name} for name, wanted in graph.items()})
    sorter.prepare()  # raises CycleError, naming the circle


def test_no_import_hides_in_a_function_to_break_a_circle() -> None:
    for path in PRODUCT:
        if path.name in ("starter.py", "options.py") or path.name.endswith("_commands.py"):
            continue  # they load what a command needs only then: --help is quick
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inside = (
            node
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
            for node in ast.walk(function)
            if isinstance(node, ast.ImportFrom)
        )
        hidden = [node.module for node in inside if node.module and within(node.module, set(PACKAGES))]
        hidden = [name for name in hidden if not within(name, {COMPUTES})]
        assert not hidden, f"{path} imports {hidden} inside a function"
