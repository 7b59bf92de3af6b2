"""Where experiments lie: ``projects/<project>/experiments/<experiment>``, or any folder with an experiment.md."""

from pathlib import Path

from discernus.experiments.problems import nearest_name

EXPERIMENT_FILE = "experiment.md"


class ExperimentNotFound(LookupError):
    """No experiment, or more than one, of the name that was given; the message lists what exists."""


def find_experiment(name_or_path: str, projects_dir: Path) -> Path:
    """Return the folder of an experiment given by name, by ``project/name``, or by path. Raise ExperimentNotFound.

    A name is looked for in the projects first; ``./name`` is always a path.
    """
    given = name_or_path.strip().rstrip("/")
    experiments = _experiments(projects_dir)
    named = [folder for folder in experiments if given in {folder.name, _full_name(folder)}]
    if len(named) > 1:
        choices = ", ".join(_full_name(folder) for folder in named)
        raise ExperimentNotFound(f"several projects have an experiment '{given}': say which one: {choices}")
    if named:
        return named[0].resolve()
    if given:
        path = Path(given).expanduser()
        folder = path.parent if path.name == EXPERIMENT_FILE else path
        if (folder / EXPERIMENT_FILE).is_file():
            return folder.resolve()
        if folder.is_dir():
            what = f"the folder '{given}' holds no {EXPERIMENT_FILE}: write one, or name another folder"
            raise ExperimentNotFound(what)
    raise ExperimentNotFound(_unknown(given, experiments, projects_dir))


def project_of(folder: Path) -> str:
    """Return the project an experiment's folder belongs to, ``local`` for one outside of any project."""
    project = project_folder(folder)
    return project.name if project is not None else "local"


def project_folder(folder: Path) -> Path | None:
    """Return the folder of the experiment's project, or None for one outside of any project."""
    above = folder.resolve().parent
    return above.parent if above.name == "experiments" and above.parent.name else None


def _experiments(projects_dir: Path) -> list[Path]:
    return sorted(path.parent for path in projects_dir.glob(f"*/experiments/*/{EXPERIMENT_FILE}") if path.is_file())


def _full_name(folder: Path) -> str:
    return f"{folder.parent.parent.name}/{folder.name}"


def _unknown(given: str, experiments: list[Path], projects_dir: Path) -> str:
    if not experiments:
        return (
            f"there is no experiment '{given}', and none at all in '{projects_dir}'; "
            "give the path of its folder, or another projects folder with --projects-dir"
        )
    names = [_full_name(folder) for folder in experiments]
    known = {name: name for name in names} | {folder.name: _full_name(folder) for folder in experiments}
    nearest = nearest_name(given, known)
    there_are = f"here are: {', '.join(names)}"
    if nearest:
        return f"there is no experiment '{given}': did you mean '{known[nearest]}'? T{there_are}"
    return f"there is no experiment '{given}'; t{there_are}"
