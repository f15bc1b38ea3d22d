"""Flags: every setting is one, every one is explained; errors."""

import dataclasses
import errno
import os
import re
import warnings
from typing import get_args

import pytest

from experiments import evaluate, sweep, toy, two_ways
from experiments.command_line import explain, parse_config
from mummi.config import BehaviorConfig, Config, ModelConfig, MPCConfig
from mummi.presets import PRESETS, preset
from mummi.runs import record
from mummi.runs.files import atomic

SECTIONS = {"": Config, "model.": ModelConfig, "behavior.": BehaviorConfig, "mpc.": MPCConfig}


def documented(kind: type) -> dict[str, str]:
    """Field -> its text in the docstring."""
    text = kind.__doc__.split("Attributes:")[1]
    found = re.findall(r"^ {4,8}(\w+): (.*(?:\n {12}.*)*)", text, re.MULTILINE)
    return {name: " ".join(words.split()) for name, words in found}


def test_help_explains_every_setting(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")  # wider help has several columns
    with pytest.raises(SystemExit) as end:
        parse_config(["--help"])
    assert end.value.code == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for prefix, kind in SECTIONS.items():
        texts = documented(kind)
        for field in dataclasses.fields(kind):
            if not dataclasses.is_dataclass(field.type) and field.name != "env":
                assert f"--{prefix}{field.name.replace('_', '-')} " in shown
                assert texts[field.name].replace("``", "`") in shown.replace("``", "`")


@pytest.mark.parametrize("prefix", SECTIONS)
def test_every_setting_is_a_flag(prefix):
    default = preset("paper", "walker_walk")
    section = getattr(default, prefix[:-1]) if prefix else default
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if dataclasses.is_dataclass(value) or field.name == "env":
            continue
        if isinstance(value, bool):
            words, expected = [str(not value)], not value
        elif isinstance(value, float | int) or value is None:
            words, expected = ["7"], 7
        elif isinstance(value, tuple):
            words, expected = ["7", "8"], (7, 8)
        elif isinstance(value, dict):
            words, expected = ["touch", "0.5", "rgb", "2"], {"touch": 0.5, "rgb": 2.0}
        else:
            expected = "walker_run" if field.type is str else get_args(field.type)[-1]
            words = [expected]
        flag = f"--{prefix}{field.name.replace('_', '-')}"
        config = parse_config([flag, *words])
        found = getattr(getattr(config, prefix[:-1]) if prefix else config, field.name)
        assert found == expected, flag


@pytest.mark.parametrize("task", ["walker_run", "cup_catch"])
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_sets_the_defaults_for_the_task_and_flags_change_them(name, task):
    config = parse_config(["--task", task, f"--preset={name}", "--model.fused", "33"])
    expected = preset(name, task)
    assert config.model == dataclasses.replace(expected.model, fused=33)
    assert config.behavior == expected.behavior and config.mpc == expected.mpc
    assert config.action_repeat == expected.action_repeat
    assert config.logdir == f"runs/{task}/mummi-{name}-0"


def test_options_of_a_task_are_flags_and_what_differs_from_its_defaults_is_kept():
    flags = ["--task", "table_wiping", "--preset", "laptop"]
    assert parse_config(flags).env == {}
    config = parse_config(
        [
            *(*flags, "--env.sensors", "robot_rgb", "force", "--env.horizon=200"),
            *("--env.ranges.colours", "0.2", "--env.ranges.mass", "0.1"),
            *("--env.early-termination", "False"),
        ]
    )
    expected = {
        "sensors": ["robot_rgb", "force"],
        "horizon": 200,
        "early_termination": False,
        "ranges": {"colours": 0.2},
    }
    assert config == dataclasses.replace(parse_config(flags), env=expected)


def test_help_explains_the_options_of_the_task(capsys):
    with pytest.raises(SystemExit):
        parse_config(["--task", "dummy", "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--env.length INT steps of an episode after the first. (default: 20)" in shown


@pytest.mark.parametrize(
    ("task", "flag", "said"),
    [
        (
            "dummy",
            "--env.lenth",
            "of task 'dummy' (its options are length); did you mean 'length'?",
        ),
        (
            "walker_walk",
            "--env.horizon",
            "of task 'walker_walk' (its options are sensors)",
        ),
        ("table_wiping", "--env.ranges.colors", "--env.ranges.colours"),
    ],
)
def test_an_option_that_the_task_lacks_is_answered_with_those_it_has(task, flag, said, capsys):
    with pytest.raises((SystemExit, ValueError)) as error:
        parse_config(["--task", task, flag, "3"])
    shown = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert said in str(error.value) + shown


def test_the_dmc_prefix_names_the_same_task():
    flags = ["--preset", "laptop"]
    assert parse_config(["--task", "dmc_walker_walk", *flags]) == parse_config(flags)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("no such thing"), 2, "error: no such thing"),
        (FloatingPointError("diverged"), 2, "error: diverged"),
        (OSError("disk full"), 2, "error: disk full"),
        (KeyboardInterrupt("stopped at step 5"), 130, "stopped at step 5"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
def test_what_a_person_can_mend_is_one_line(capsys, error, code, said):
    with pytest.raises(SystemExit) as end, explain():
        raise error
    assert end.value.code == code
    text = capsys.readouterr().err.strip()
    assert text.startswith(said) and len(text.splitlines()) == 1


def a_file_for_a_folder(path):
    path.touch()
    path.mkdir(exist_ok=True)


def below_a_file(path):
    path.touch()
    (path / "below").mkdir(parents=True)


def a_folder_for_a_file(path):
    path.mkdir()
    path.write_text("")


def a_full_disk(path):
    with atomic(path) as temporary:
        temporary.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (a_file_for_a_folder, "File exists; a file is where a folder is needed; name another"),
        (below_a_file, "Not a directory; a file is where a folder is needed; name another folder"),
        (a_folder_for_a_file, "Is a directory; a folder is where a file is needed; name a file"),
        (a_full_disk, "No space left on device; free some space and give the same command again"),
    ],
)
def test_an_error_of_the_system_names_the_place_and_the_remedy(tmp_path, capsys, fault, said):
    with pytest.raises(SystemExit), explain():
        fault(tmp_path / "it")
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: '{tmp_path / 'it'}") and said in shown
    assert "Errno" not in shown


@pytest.mark.parametrize("seed", ["-1", str(2**32)])
@pytest.mark.parametrize(
    "command",
    [
        lambda seed, _: parse_config(["--task", "dummy", "--seed", seed]),
        lambda seed, _: toy.main(["--seed", seed]),
        lambda seed, _: two_ways.main(["--seed", seed]),
        lambda seed, _: sweep.main(["--tasks", "dummy", "--seeds", seed]),
        lambda seed, run: evaluate.main(["--logdir", run, "--seed", seed]),
    ],
)
def test_a_seed_that_is_none_is_told_by_the_flag(tmp_path, capsys, command, seed):
    """One beyond 32 bits would be another one for JAX, without a word."""
    record.save(str(tmp_path), record.Run(preset("debug", "dummy"), (), 2))
    with pytest.raises(SystemExit) as end:
        command(seed, str(tmp_path))
    assert end.value.code == 2
    assert f"--seed is {seed}; it must be from 0 to 4294967295" in capsys.readouterr().err


def test_a_mistake_in_the_program_keeps_its_traceback(monkeypatch):
    with pytest.raises(TypeError), explain():
        raise TypeError("a bug")
    monkeypatch.setenv("MUMMI_TRACEBACK", "1")
    with pytest.raises(ValueError, match="shown whole"), explain():
        raise ValueError("shown whole")


def test_a_warning_is_one_line_without_source_code(capsys):
    with explain():
        warnings.simplefilter("always")
        warnings.warn("skipped an episode", stacklevel=2)
    assert capsys.readouterr().err == "warning: skipped an episode\n"
