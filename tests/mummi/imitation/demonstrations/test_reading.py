"""Which sensors are read, and under which names."""

import pytest

from mummi.imitation.demonstrations import Reading

NAMES = ("front_rgb", "arm", "gripper")


def test_all_sensors_are_read_under_their_names():
    assert Reading().choose(NAMES, "F") == {name: name for name in NAMES}


def test_sensors_are_renamed_and_chosen_by_the_new_names_in_the_order_given():
    reading = Reading(("arm", "rgb"), ("front_rgb=rgb",))
    assert list(reading.choose(NAMES, "F").items()) == [("arm", "arm"), ("rgb", "front_rgb")]


def test_two_sensors_change_their_names():
    assert Reading(None, ("arm=gripper", "gripper=arm")).choose(NAMES, "F") == {
        "front_rgb": "front_rgb",
        "gripper": "arm",
        "arm": "gripper",
    }


def test_what_stands_aside_is_read_where_it_is_named():
    assert list(Reading().choose(NAMES, "F", aside=("arm",))) == ["front_rgb", "gripper"]
    assert list(Reading(("arm",)).choose(NAMES, "F", aside=("arm",))) == ["arm"]
    renamed = Reading(rename=("arm=proprio",)).choose(NAMES, "F", aside=("arm",))
    assert renamed["proprio"] == "arm"


@pytest.mark.parametrize(
    ("obs", "rename", "said"),
    [
        (("rgb",), (), "F: unknown modality 'rgb'; the observations are front_rgb, arm, gripper"),
        (("arn",), (), "did you mean 'arm'?"),
        (None, ("front=rgb",), "F: --rename names 'front', which is no sensor of these data; they"),
        (None, ("arm=gripper",), "--rename gives 'arm' and 'gripper' one name, 'gripper'"),
    ],
)
def test_what_the_data_lack_is_refused(obs, rename, said):
    with pytest.raises(ValueError, match=said.replace("?", r"\?")):
        Reading(obs, rename).choose(NAMES, "F")


@pytest.mark.parametrize(
    ("rename", "said"),
    [
        (("arm",), "--rename 'arm' must be FILE=TASK"),
        (("=arm",), "must be FILE=TASK"),
        (("arm=",), "must be FILE=TASK"),
        (("arm=a", "arm=b"), "--rename has the file's name 'arm' twice"),
        (("arm=a", "gripper=a"), "--rename has the task's name 'a' twice"),
    ],
)
def test_a_renaming_that_says_nothing_is_refused(rename, said):
    with pytest.raises(ValueError, match=said):
        Reading(None, rename)
