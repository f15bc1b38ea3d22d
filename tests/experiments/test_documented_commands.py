"""Every command, script and sweep that a page prints is one that the program takes."""

import dataclasses
import importlib
import itertools
import pathlib
import re
import shlex
import sys

import pytest
import tyro

from envs.failures.script import load_script
from experiments import collect, imitate, sweep
from experiments.command_line import parse_config
from tests.support.libero_here import PACKAGES

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^ *```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"python -m (experiments[\w.]+)([^\n`]*)")
SCRIPT = re.compile(r"python (docs/\w+\.py)")
PLACEHOLDERS = {
    "TASK": "assembly",
    "HEAD": "bc",
    "S": "0",
    "P": "laptop",
    "$seed": "0",
    "$head": "disdp",
}
"""What stands for a value that the parser checks, and such a value."""


def printed(path: pathlib.Path) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """The commands of a page, module first: those in fences of shell, and those within a line."""
    text = path.read_text()
    inline = re.findall(r"(?<!`)`(python -m [^`]+)`(?!`)", FENCE.sub("", text))
    fenced = "\n".join(FENCE.findall(text)).replace("\\\n", " ")
    return commands(fenced), commands("\n".join(" ".join(code.split()) for code in inline))


def commands(lines: str) -> list[tuple[str, ...]]:
    """The commands in lines of shell."""
    return [(module, *words(rest)) for module, rest in COMMAND.findall(lines)]


def words(rest: str) -> list[str]:
    """The arguments up to a comment or the end of the command, placeholders replaced."""
    lexer = shlex.shlex(rest, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found = []
    for word in lexer:
        if set(word) <= set(";&|()<>"):
            break
        found.append(re.sub(r"\$?\b[A-Z]+\b|\$\w+", lambda m: PLACEHOLDERS.get(m[0], m[0]), word))
    return found


FENCED, INLINE = (
    sorted(set(itertools.chain(*found))) for found in zip(*map(printed, PAGES), strict=True)
)


class ParsedError(Exception):
    """Ends a command once its flags are read."""


def parse(module: str, arguments: list[str], monkeypatch) -> None:
    """Reads the flags of a command, and nothing else."""
    command = importlib.import_module(module)
    read = tyro.cli

    def stop(*given, **settings):
        read(*given, **settings)
        raise ParsedError

    monkeypatch.setattr(sys, "argv", [module, *arguments])
    if command is sweep:
        monkeypatch.setattr(sweep, "sweep", one_of)
        sweep.main(arguments)
    elif module == "experiments.train":
        parse_config(arguments)
    elif command in (collect, imitate):
        # The settings of a run that is not there are not looked up.
        monkeypatch.setattr(imitate, "world_model_settings", lambda arguments: None)
        command.parse(arguments)
    else:
        monkeypatch.setattr(tyro, "cli", stop)
        with pytest.raises(ParsedError):
            command.main()


def one_of(arguments: sweep.Arguments, flags, variants) -> list:
    """In place of a sweep the settings of one run of each variant."""
    tasks, methods, seeds = arguments.tasks[:1], arguments.methods[:1], arguments.seeds[:1]
    few = dataclasses.replace(arguments, tasks=tasks, methods=methods, seeds=seeds)
    assert sweep.grid(few, flags, variants)
    return []


@pytest.fixture(scope="module")
def robots(tmp_path_factory):
    """The modules that the pages' own robots stand in."""
    folder = tmp_path_factory.mktemp("robots")
    code = "class Reacher:\n    def __init__(self, seed=0, speed=0.2): ...\n\n\nPusher = Reacher\n"
    (folder / "my_robot.py").write_text(code)
    (folder / "my_package").mkdir()
    (folder / "my_package/robots.py").write_text(code)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield
    for name in ("my_robot", "my_package.robots", "my_package"):
        sys.modules.pop(name, None)


def told(command: tuple[str, ...]) -> str:
    """The command without what all begin with."""
    return " ".join(command).removeprefix("experiments.")


@pytest.mark.parametrize("command", FENCED, ids=told)
def test_a_command_parses(command, monkeypatch, robots):
    module, *arguments = command
    for word in arguments:
        if word.startswith("--env.") and "libero" in command[2] and not PACKAGES:
            pytest.skip("needs LIBERO (make libero)")
        if word.startswith("experiments/"):
            assert (ROOT / word).exists(), f"there is no {word}"
    parse(module, arguments, monkeypatch)


@pytest.mark.parametrize("command", INLINE, ids=told)
def test_a_command_within_a_line_parses_but_for_what_it_leaves_out(
    command, monkeypatch, robots, capsys
):
    module, *arguments = command
    try:
        parse(module, arguments, monkeypatch)
    except SystemExit:
        assert "Required options" in (said := capsys.readouterr().err), said


def test_scripts_of_failure_and_sweeps_are_read(tmp_path):
    found = {"rules:": 0, "tasks:": 0}
    for path in PAGES:
        for block in YAML.findall(path.read_text()):
            file = tmp_path / "printed.yaml"
            file.write_text(block)
            for key, read in (("rules:", load_script), ("tasks:", sweep.read)):
                if key in block:
                    read(str(file))
                    found[key] += 1
    assert all(found.values())


def test_pages_print_scripts_that_are_there():
    scripts = {name for path in PAGES for name in SCRIPT.findall(path.read_text())}
    assert scripts and all((ROOT / name).exists() for name in scripts)


def test_a_command_that_is_wrong_is_found(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\nfor seed in 0 1; do python -m experiments.train --task dummy \\\n"
        "    --seed $seed; done   # and so on\n```\n`python -m experiments.plot\n--smoth 3`\n"
    )
    (right,), (wrong,) = printed(page)
    assert right == ("experiments.train", "--task", "dummy", "--seed", "0")
    parse(right[0], list(right[1:]), monkeypatch)
    with pytest.raises(SystemExit):
        parse(wrong[0], list(wrong[1:]), monkeypatch)
