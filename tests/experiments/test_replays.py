"""The command that replays demonstrations: its table and its checks, without a simulator."""

import pytest

from experiments.replays import Arguments, require_same, table
from mummi.imitation.heads.outcomes import Outcome

GOOD = {"task": "libero_object", "data": "d", "out": "o"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"task": "libero_objects"}, "did you mean 'libero_object'"),
        ({"task": "walker_walk"}, "unknown task 'walker_walk'"),
        ({"starts": "25"}, "it must be FIRST:END"),
        ({"starts": "40:60"}, "numbers of initial states up to 50"),
        ({"starts": "9:9"}, "it must be FIRST:END"),
        ({"envs": 0}, "--envs is 0"),
        ({"seed": -1}, "--seed is -1"),
    ],
)
def test_what_makes_no_sense_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        Arguments(**GOOD | change)


def outcome(task, success, own=()):
    return Outcome(task, 0, 0, own, ("a", "b"), success, (9, 9))


def test_the_table_tells_the_control_and_the_ceiling():
    found = [
        outcome("t/0", (True, False)),
        outcome("t/0", (True, True)),
        outcome("t/1", (False, False)),
        outcome("t/1", (True, False), own=("a",)),
    ]
    rows = list(zip(*(column._cells for column in table(found).columns), strict=True))
    assert [row[0] for row in rows] == ["t/0", "t/1", "all"]
    assert [row[2].split()[0] for row in rows] == ["75", "0", "38"]
    assert [row[3].split()[0] for row in rows] == ["100", "0", "50"]


def test_replays_of_other_demonstrations_or_another_seed_are_not_added_to():
    found, arguments = [outcome("t/0", (True, False))], Arguments(**GOOD)
    require_same(found, [], arguments)
    with pytest.raises(ValueError, match="--seed 0, and this command asks for 3"):
        require_same(found, [], Arguments(**GOOD, seed=3))

    class Others:
        task, executed = "t/0", ()

    with pytest.raises(ValueError, match="other demonstrations of t/0"):
        require_same(found, [Others], arguments)
