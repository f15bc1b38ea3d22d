"""MetaWorld's names: fifty tasks in four groups; without the package they say what to type."""

import sys

import pytest

import envs
from envs.metaworld.catalogue import GROUPS, TASKS, tasks_of
from tests.support.metaworld_here import needs_metaworld

DIFFICULTIES = ("metaworld_easy", "metaworld_medium", "metaworld_hard", "metaworld_very_hard")


def test_the_groups_by_difficulty_share_out_the_fifty_tasks():
    parts = [GROUPS[name] for name in DIFFICULTIES]
    assert [len(part) for part in parts] == [28, 11, 6, 5]
    assert sorted(task for part in parts for task in part) == sorted(TASKS)
    assert GROUPS["metaworld"] == tuple(TASKS) == tuple(sorted(TASKS))


def test_every_task_and_group_has_a_name_and_a_mistaken_one_is_told():
    assert {*GROUPS, *(f"metaworld/{task}" for task in TASKS)} <= set(envs.tasks())
    assert tasks_of("metaworld/sweep") == ("sweep",) and len(tasks_of("metaworld_hard")) == 6
    with pytest.raises(ValueError, match=r"unknown task 'metaworld/swep' .*'metaworld/sweep'"):
        envs.make("metaworld/swep")


def test_sentences_are_all_different():
    assert len(set(TASKS.values())) == len(TASKS)
    assert all(sentence == sentence.lower().strip(" .") for sentence in TASKS.values())


@needs_metaworld
def test_the_names_are_metaworlds():
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    assert {f"{task}-v3" for task in TASKS} == set(ALL_V3_ENVIRONMENTS)


def test_without_the_package_a_task_says_what_to_type(monkeypatch):
    for name in list(sys.modules):
        if name.startswith(("envs.metaworld.", "metaworld")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "metaworld", None)
    with pytest.raises(ModuleNotFoundError) as error:
        envs.make("metaworld/reach")
    assert str(error.value) == (
        "task 'metaworld/reach' needs metaworld, which is not installed: make metaworld, or "
        "pip install -r requirements.txt and pip install --no-deps -r requirements-metaworld.txt"
    )
