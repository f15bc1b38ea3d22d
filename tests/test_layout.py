"""The layout of the repository: who imports whom, file sizes, docstrings, pinned versions."""

import ast
import configparser
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGES = ("mummi", "envs", "experiments")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
LINE_LIMIT = 350


def package_of(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).parts[0]


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


def within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def may_import(package: str, name: str) -> bool:
    if package == "mummi":
        return not any(within(name, other) for other in ("envs", "experiments"))
    if package == "envs":
        if within(name, "mummi"):
            return within(name, "mummi.modality")
        return not any(within(name, other) for other in ("experiments", "jax", "flax", "optax"))
    return True


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_dependencies_point_one_way(path):
    package = package_of(path)
    wrong = sorted(name for name in imports(path) if not may_import(package, name))
    assert not wrong, f"{package} must not import {', '.join(wrong)}"


@pytest.mark.parametrize(
    ("package", "name", "allowed"),
    [
        ("mummi", "envs.base.TimeStep", False),
        ("mummi", "mummi.model.fusion", True),
        ("envs", "mummi.modality.Modality", True),
        ("envs", "mummi.data.replay", False),
        ("envs", "mummi", False),
        ("envs", "jax.numpy", False),
        ("envs", "jaxtyping.Float", True),
        ("experiments", "mummi.agent", True),
    ],
)
def test_the_rule_itself(package, name, allowed):
    assert may_import(package, name) is allowed


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
    [path for path in FILES if package_of(path) != "experiments"],
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


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-libero.txt"])
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
