"""The layout of the repository: who imports whom, file sizes, docstrings, pinned versions."""

import ast
import configparser
import graphlib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGES = ("mummi", "envs", "experiments")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
LINE_LIMIT = 350


def imports(path: pathlib.Path) -> set[str]:
    """Full names of all that a file imports, also inside functions: ``from a import b`` is a.b."""
    parents = path.relative_to(ROOT).parts[:-1]
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = parents[: len(parents) - node.level + 1] if node.level else ()
            module = ".".join((*base, *filter(None, [node.module])))
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


ROOMS = {
    # mummi knows no simulator.
    "mummi": "mummi.agent mummi.policy mummi.pretrained mummi.training mummi.imitation",
    "mummi.runs.names": "",
    "mummi.modality": "mummi.runs.names",
    "mummi.config": "",
    "mummi.presets": "mummi.config",
    "mummi.model": "mummi.modality mummi.config",
    "mummi.control": "mummi.config mummi.model",
    "mummi.runs": "mummi.modality mummi.config mummi.runs.names",
    "mummi.data": "mummi.modality mummi.runs",
    "mummi.agent": "mummi.modality mummi.config mummi.model mummi.control mummi.runs",
    "mummi.pretrained": "mummi.runs.names",
    "mummi.policy": "mummi.modality mummi.model mummi.runs mummi.runs.names mummi.agent",
    "mummi.training": "mummi.modality mummi.config mummi.data mummi.runs mummi.agent",
    "mummi.imitation": "mummi.modality mummi.config mummi.presets mummi.model mummi.data "
    "mummi.runs mummi.runs.names mummi.agent",
    # envs knows of mummi what a sensor is.
    "envs": "envs.base envs.custom envs.gymnasium envs.failures envs.metaworld envs.processes "
    "envs.rendering mummi.runs.names",
    "envs.base": "mummi.modality mummi.runs.names",
    "envs.episodes": "",
    "envs.instruction": "",
    "envs.custom": "envs.base mummi.modality mummi.runs.names",
    "envs.gymnasium": "envs.base envs.custom envs.episodes mummi.modality mummi.runs.names",
    "envs.recorded": "envs.rendering mummi.modality mummi.runs.names",
    "envs.dummy": "envs.base envs.episodes mummi.modality",
    "envs.toy_world": "envs.base envs.episodes mummi.modality",
    "envs.failures": "envs.base envs.episodes mummi.modality mummi.runs.names",
    "envs.processes": "envs envs.base envs.episodes mummi.modality",
    "envs.rendering": "",
    "envs.natural_mujoco": "envs.base envs.episodes envs.rendering mummi.modality",
    "envs.robosuite": "envs.rendering",
    "envs.scripted_arm": "",
    "envs.arm_task": "envs.base envs.rendering envs.robosuite envs.scripted_arm",
    "envs.table_wiping": "envs.base envs.episodes envs.rendering envs.robosuite mummi.modality",
    "envs.libero": "envs.arm_task envs.base envs.episodes envs.instruction envs.rendering "
    "envs.robosuite envs.scripted_arm mummi.modality",
    "envs.robomimic": "envs.arm_task envs.base envs.episodes envs.rendering envs.robosuite "
    "envs.scripted_arm mummi.modality",
    "envs.pusht": "envs.base envs.episodes mummi.modality",
    "envs.metaworld": "envs.base envs.episodes envs.instruction envs.rendering mummi.modality",
    # experiments knows both houses; of its own rooms these.
    "experiments": "experiments.runtime",
    "experiments.command_line": "",
    "experiments.runtime": "",
    "experiments.evaluation": "",
    "experiments.collection": "experiments.evaluation",
    "experiments.imitation": "experiments.evaluation",
    "experiments.report": "experiments.evaluation",
    "experiments.serving": "",
    "experiments.sweeping": "experiments.evaluation",
    "experiments.benchmarks": "experiments.command_line experiments.evaluation experiments.serving",
}
"""Which rooms each room may import, itself aside. One that is the name of a package is its
``__init__.py``; what is not listed under ``experiments`` is a command."""

COMMANDS = {"demo": "train evaluate plot", "imitate": "evaluate", "sweep": "imitate"}
"""Commands that call other commands; the others import the rooms alone."""

UNTURNED = {
    ("experiments.evaluation.ablation", "experiments.evaluate"),
    ("experiments.evaluation.ablation", "experiments.report"),
    ("experiments.sweeping.jobs", "experiments.evaluate"),
}
"""Modules of rooms that still import what they must not."""


def module_of(path: pathlib.Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room_of(name: str) -> str:
    """The room of a module, or of what is imported from one; a command is its own room."""
    parts = name.split(".")
    rooms = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    room = next(room for room in rooms if room in ROOMS)
    return ".".join(parts[:2]) if room == "experiments" and len(parts) > 1 else room


def may_import(module: str, name: str) -> bool:
    """Whether a module may import a name, be it of this repository or not."""
    house, other = module.partition(".")[0], name.partition(".")[0]
    if other not in PACKAGES:
        return house != "envs" or other not in ("jax", "flax", "optax")
    room, wanted = room_of(module), room_of(name)
    if room == wanted or (house == "experiments" != other) or (module, wanted) in UNTURNED:
        return True
    if room in ROOMS:
        return wanted in ROOMS[room].split()
    called = COMMANDS.get(room.partition(".")[2], "").split()
    return wanted in ROOMS or wanted.partition(".")[2] in called


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_room_imports_only_what_it_may(path):
    module = module_of(path)
    wrong = sorted(name for name in imports(path) if not may_import(module, name))
    assert not wrong, f"{module} must not import {', '.join(wrong)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_is_in_a_room(path):
    """A file at the top of a house is a room of its own, and its line in the table says so."""
    module = module_of(path)
    assert path.name == "__init__.py" or room_of(module) not in PACKAGES, f"no room for {module}"


def test_no_room_depends_on_itself():
    """What a package offers at its top may come from all of its rooms, so it does not count."""
    graph = {room: set(ROOMS[room].split()) - {*PACKAGES} for room in ROOMS if room not in PACKAGES}
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert order.index("mummi.modality") < order.index("envs.base")
    assert set(order) <= set(ROOMS)


@pytest.mark.parametrize(
    ("module", "name", "allowed"),
    [
        ("mummi.training.trainer", "envs.base.TimeStep", False),
        ("mummi.training.trainer", "experiments.train", False),
        ("mummi.training.trainer", "mummi.data.replay.Replay", True),
        ("mummi.training.trainer", "mummi.imitation.record", False),
        ("mummi.model.rssm", "mummi.model.fusion", True),
        ("mummi.model.rssm", "mummi.runs.names.closest", False),
        ("mummi.runs.names", "difflib", True),
        ("mummi.runs.names", "mummi.modality.Modality", False),
        ("mummi", "mummi.training.trainer.train", True),
        ("envs.dummy", "mummi.modality.Modality", True),
        ("envs.dummy", "mummi.data.replay", False),
        ("envs.dummy", "mummi", False),
        ("envs.dummy", "jax.numpy", False),
        ("envs.dummy", "jaxtyping.Float", True),
        ("envs.failures.rules", "mummi.runs.names.closest", True),
        ("envs.failures.rules", "mummi.runs.record", False),
        ("envs.toy_world", "envs.libero.tasks", False),
        ("experiments.train", "mummi.agent", True),
        ("experiments.train", "mummi.train", True),
        ("experiments.train", "experiments.runtime.start", True),
        ("experiments.train", "experiments.evaluate", False),
        ("experiments.demo", "experiments.evaluate", True),
        ("experiments.report.scores", "experiments.evaluate", False),
        ("experiments.report.scores", "experiments.sweeping.jobs", False),
    ],
)
def test_the_rule_itself(module, name, allowed):
    assert may_import(module, name) is allowed


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_one_thing(path):
    lines = len(path.read_text().splitlines())
    assert lines <= LINE_LIMIT, f"{lines} lines; a file past {LINE_LIMIT} is two things"


def undocumented(tree: ast.Module) -> list[str]:
    """The module itself and its public classes and functions that have no docstring."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    public = [n for n in tree.body if isinstance(n, kinds) and not n.name.startswith("_")]
    missing = [node.name for node in public if ast.get_docstring(node) is None]
    if tree.body and ast.get_docstring(tree) is None:
        missing.insert(0, "the module")
    return missing


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if not module_of(path).startswith("experiments")],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_everything_public_is_documented(path):
    missing = undocumented(ast.parse(path.read_text()))
    assert not missing, f"no docstring: {', '.join(missing)}"


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_names(text: str) -> set[str]:
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return {normalised(re.match(r"[\w.-]+", line).group()) for line in lines if line}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_unpickled_but_what_a_pipe_of_ours_sends_and_arrays_of_calvin(path):
    text = path.read_text()
    assert not re.search("allow_pickle ?= ?True|torch.load|joblib|cloudpickle|dill|shelve", text)
    # The second imports nothing but arrays while it reads, which its own test holds.
    allowed = ("envs/processes/worker.py", "mummi/imitation/demonstrations/calvin.py")
    if str(path.relative_to(ROOT)) not in allowed:
        assert not re.search(r"(import|from) pickle|pickle\.loads?\b", text)


@pytest.mark.parametrize(
    "name",
    [
        "requirements.txt",
        "requirements-docs.txt",
        "requirements-libero.txt",
        "requirements-metaworld.txt",
    ],
)
def test_requirements_are_pinned(name):
    lines = (ROOT / name).read_text().splitlines()
    loose = [
        line
        for line in lines
        if line and not line.startswith("#") and not re.fullmatch(r"[\w.-]+==[\w.]+", line)
    ]
    assert not loose, f"without an exact version: {loose}"


def test_what_the_package_needs_is_pinned():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    pinned = requirement_names((ROOT / "requirements.txt").read_text())
    needed = requirement_names(setup["options"]["install_requires"])
    for extra in setup["options.extras_require"].values():
        needed |= requirement_names(extra)
    assert needed <= pinned, f"in setup.cfg only: {sorted(needed - pinned)}"


def test_every_command_is_installed_under_a_name_of_its_own():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    names = {
        path.stem
        for path in (ROOT / "experiments").glob("*.py")
        if "\ndef main(" in path.read_text()
    }
    entries = setup["options.entry_points"]["console_scripts"].split("\n")[1:]
    assert set(entries) == {f"mummi-{n.replace('_', '-')} = experiments.{n}:main" for n in names}
