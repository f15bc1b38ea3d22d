"""The folder of a run: what is saved comes back, and a command that does not fit is refused."""

import dataclasses
import typing
from dataclasses import replace
from typing import Literal

import pytest
import yaml

from envs import tasks
from mummi.config import Config
from mummi.presets import PRESETS, preset
from mummi.runs.record import (
    FORMAT,
    UNSET,
    Run,
    check_folder,
    differences,
    from_dict,
    load,
    open_run,
    save,
    to_dict,
)
from tests.support.small import ACTION_SIZE, MODALITIES

CONFIG = preset("debug", "dummy")
RUN = Run(CONFIG, MODALITIES, ACTION_SIZE)


def with_field(name, value):
    """The dictionary of CONFIG with one field changed, added or (by ...) removed."""
    values = to_dict(CONFIG)
    *sections, last = name.split(".")
    target = values
    for section in sections:
        target = target[section]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return values


def changed(name, value) -> Config:
    """CONFIG with one field replaced, without a check of its type."""
    section, _, field = name.rpartition(".")
    if not section:
        return replace(CONFIG, **{field: value})
    return replace(CONFIG, **{section: replace(getattr(CONFIG, section), **{field: value})})


def all_fields(config=CONFIG, where=""):
    """Name, value and type of every setting."""
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from all_fields(value, f"{where}{field.name}.")
        else:
            yield where + field.name, value, hints[field.name]


def another(value, hint):
    """A value of the same type that differs."""
    if typing.get_origin(hint) is typing.Literal:
        return next(choice for choice in typing.get_args(hint) if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, tuple):
        return (*value, 1)
    if isinstance(value, dict):
        return {**value, "rgb": 0.5}
    return value + 1


def tasks_that_differ(name):
    """One task for each set of settings that a preset has."""
    return {str(replace(preset(name, task), task="")): task for task in tasks()}.values()


@pytest.mark.parametrize(
    ("name", "task"), [(name, task) for name in PRESETS for task in tasks_that_differ(name)]
)
def test_a_run_comes_back_from_its_file_as_it_was(name, task, tmp_path):
    saved = Run(preset(name, task), MODALITIES, ACTION_SIZE)
    save(tmp_path / "new" / "folder", saved)
    assert load(tmp_path / "new" / "folder") == saved
    assert from_dict(Config, to_dict(saved.config)) == saved.config
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["config.yaml"]


def test_options_of_the_task_come_back(tmp_path):
    options = {"sensors": ["force"], "shaping": False, "ranges": {"colours": 0.5}}
    saved = RUN._replace(config=changed("env", options))
    save(tmp_path, saved)
    assert load(tmp_path) == saved


def test_what_cannot_fail_comes_back(tmp_path):
    told = (*MODALITIES[:2], replace(MODALITIES[2], can_fail=False))
    save(tmp_path, RUN._replace(modalities=told))
    assert load(tmp_path).modalities == told


def test_weights_by_sensor_come_back(tmp_path):
    saved = RUN._replace(config=changed("model.nce_weights", {"touch": 0.001, "rgb": 2.0}))
    save(tmp_path, saved)
    assert load(tmp_path) == saved


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model.horizons", 3, r"unknown config field 'model.horizons'"),
        ("model.stoc", 3, r"unknown config field 'model.stoc'; did you mean 'stoch'\?"),
        ("sede", 3, r"unknown config field 'sede'; did you mean 'seed'\?"),
        ("behavior.lam", ..., "config field 'behavior.lam' is missing"),
        ("mpc", ..., "config field 'mpc' is missing"),
        ("mpc", 3, "config section 'mpc' is 3, not a mapping"),
        ("seed", "zero", "config field 'seed' is 'zero', which is no int$"),
        ("seed", True, "config field 'seed' is True, which is no int$"),
        ("seed", 0.5, "config field 'seed' is 0.5, which is no int$"),
        ("updates_per_1000", "4", "config field 'updates_per_1000' is '4', which is no float$"),
        ("model.norm", 1, "config field 'model.norm' is 1, which is no bool$"),
        ("model.kl_balance", "none", "config field 'model.kl_balance' is 'none'"),
        ("model.kl_balance", True, "config field 'model.kl_balance' is True"),
        ("model.image_widths", [4, "8"], "config field 'model.image_widths' is"),
        ("model.image_widths", 4, "config field 'model.image_widths' is 4"),
        ("model.image_widths", [4, True], "config field 'model.image_widths' is"),
        ("model.nce_weights", {3: 1.0}, "config field 'model.nce_weights' is {3: 1.0}"),
        ("env", ["horizon"], r"config field 'env' is \['horizon'\]"),
        ("model.nce_weights", {"rgb": "one"}, "config field 'model.nce_weights' is {'rgb': 'one'}"),
        ("method", "mumi", "config field 'method' is 'mumi', which is none of 'mummi', 'mummi_b'"),
    ],
)
def test_a_field_that_does_not_fit_is_named(field, value, message):
    with pytest.raises(ValueError, match=message):
        from_dict(Config, with_field(field, value))


def test_a_setting_that_may_change_is_the_default_where_an_older_version_lacked_it():
    assert from_dict(Config, with_field("logger", ...)) == CONFIG


def test_an_integer_is_a_float_and_none_an_optional():
    assert from_dict(Config, with_field("behavior.lam", 1)).behavior.lam == 1
    assert from_dict(Config, with_field("model.kl_balance", None)).model.kl_balance is None


@dataclasses.dataclass(frozen=True)
class Unions:
    place: str | None = None
    size: int | tuple[int, ...] = 1
    share: float | bool = 0.5
    weights: dict[str, float] | Literal["auto"] = "auto"


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("place", "here", "here"),
        ("place", None, None),
        ("size", 3, 3),
        ("size", [3, 4], (3, 4)),
        ("share", 1, 1.0),
        ("share", True, True),
        ("weights", "auto", "auto"),
        ("weights", {"rgb": 2}, {"rgb": 2.0}),
    ],
)
def test_a_union_takes_each_of_its_types(field, value, expected):
    found = getattr(from_dict(Unions, to_dict(Unions()) | {field: value}), field)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("place", 3.0),
        ("size", None),
        ("size", [3, "4"]),
        ("size", 1.5),
        ("share", "half"),
        ("weights", "off"),
        ("weights", {"rgb": None}),
    ],
)
def test_a_union_takes_no_other(field, value):
    with pytest.raises(ValueError, match=f"config field '{field}' is .*, which is no "):
        from_dict(Unions, to_dict(Unions()) | {field: value})


FREE = {
    *("devices", "coordinator", "processes", "process", "envs", "bfloat16"),
    *("steps", "logdir", "log_every", "checkpoint_every", "evaluate_every", "evaluate_episodes"),
    *("trust", "logger"),
    *("replay_memory", "replay_device", "updates_per_call"),
}


@pytest.mark.parametrize(("field", "value", "hint"), list(all_fields()))
def test_a_resumed_run_may_change_its_free_settings_and_no_other(field, value, hint):
    new = another(value, hint)
    found = list(differences(CONFIG, changed(field, new)))
    expected = (f"{field}.rgb", UNSET, 0.5) if isinstance(new, dict) else (field, value, new)
    assert found == ([] if field in FREE else [expected])


def test_a_changed_option_of_the_task_is_refused_by_its_name(tmp_path):
    options = {"horizon": 200, "ranges": {"mass": 0.2, "colours": 0.0}}
    open_run(tmp_path, RUN._replace(config=changed("env", options)))
    other = changed("env", options | {"ranges": {"mass": 0.3, "colours": 0.0}})
    with pytest.raises(ValueError, match=r"with env\.ranges\.mass = 0\.2, .* asks for 0\.3"):
        open_run(tmp_path, RUN._replace(config=other))
    less = changed("env", {"ranges": options["ranges"]})
    with pytest.raises(ValueError, match=r"env\.horizon = 200, .* asks for 'the default'"):
        open_run(tmp_path, RUN._replace(config=less))


def test_a_changed_setting_is_refused_by_name_and_a_free_one_is_taken(tmp_path):
    assert open_run(tmp_path, RUN) is False
    longer = RUN._replace(config=replace(CONFIG, steps=9_999))
    assert open_run(tmp_path, longer) is True
    assert load(tmp_path).config.steps == 9_999
    with pytest.raises(ValueError, match=r"holds a run with model\.stoch = 4, .* asks for 5"):
        open_run(tmp_path, RUN._replace(config=changed("model.stoch", 5)))
    assert load(tmp_path) == longer


def test_other_sensors_are_refused(tmp_path):
    open_run(tmp_path, RUN)
    with pytest.raises(ValueError, match="the sensors of 'dummy' changed since"):
        open_run(tmp_path, RUN._replace(modalities=MODALITIES[:2]))
    with pytest.raises(ValueError, match="the sensors of 'dummy' changed since"):
        open_run(tmp_path, RUN._replace(action_size=ACTION_SIZE + 1))


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match=r"is not empty \('thesis.tex'\) and holds no run"):
        open_run(tmp_path, RUN)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_a_run_killed_at_its_start_leaves_is_no_obstacle(tmp_path):
    for name in ("config.yaml.tmp", ".lock"):
        (tmp_path / name).write_text("")
    assert check_folder(tmp_path, CONFIG) is False
    assert check_folder(tmp_path / "absent", CONFIG) is False


def test_a_file_is_no_folder(tmp_path):
    path = tmp_path / "run"
    path.write_text("")
    with pytest.raises(ValueError, match="is a file; give a folder"):
        open_run(path, RUN)


def test_a_folder_without_a_run_says_what_to_give(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is no run: it has no config\.yaml; give the"):
        load(tmp_path)


def edited(path, **changes):
    content = yaml.safe_load(path.read_text()) | changes
    path.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not ...}))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 0},
        {"format": ...},
        {"config": {}},
        {"config": "lost"},
        {"modalities": None},
        {"modalities": [{"name": "rgb", "kind": "image"}]},
        {"modalities": [{"name": 5, "kind": "image", "shape": [8, 8, 3]}]},
        {"action_size": "two"},
    ],
)
def test_a_file_of_another_version_is_refused_by_its_path(changes, tmp_path):
    save(tmp_path, RUN)
    edited(tmp_path / "config.yaml", **changes)
    with pytest.raises(ValueError, match=r"config\.yaml is damaged or from another version: \S"):
        load(tmp_path)


def test_a_run_of_another_format_names_both_and_the_way_out(tmp_path):
    save(tmp_path, RUN)
    edited(tmp_path / "config.yaml", format=1)
    with pytest.raises(
        ValueError,
        match=f"format 1 and this version of mummi reads {FORMAT}, .* train anew, or use the "
        "version that wrote it",
    ):
        load(tmp_path)


@pytest.mark.parametrize("text", ["", "format: [1", "just words", "- 1", "\x00"])
def test_a_damaged_file_is_refused_by_its_path(text, tmp_path):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"config\.yaml is damaged or from another version: \S"):
        load(tmp_path)


def test_a_changed_dropout_script_is_refused_by_its_name(tmp_path):
    script = {"name": "mine", "rules": [{"rule": "lost", "modality": "touch", "at": 3}]}
    open_run(tmp_path, RUN._replace(script=script))
    assert load(tmp_path).script == script
    assert open_run(tmp_path, RUN._replace(script=script))
    with pytest.raises(ValueError, match=f"script --missing '{CONFIG.missing}' changed"):
        open_run(tmp_path, RUN._replace(script=script | {"rules": []}))
