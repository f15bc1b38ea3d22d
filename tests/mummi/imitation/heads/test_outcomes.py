"""The file of replays: what is written comes back, cut lines and strangers do not."""

import numpy as np
import pytest

from mummi.imitation.heads.outcomes import Outcome, digest, failures, read, shares, write

ACTIONS = [np.full((3 + i, 2), i / 10, np.float32) for i in range(3)]
NAMES = tuple(digest(a) for a in ACTIONS)


def outcome(task, start, own, names, success):
    return Outcome(task, start, 0, own, names, success, (5,) * len(names))


ROWS = [
    outcome("suite/0", 25, NAMES[:1], NAMES[:2], (True, False)),
    outcome("suite/0", 26, NAMES[1:2], NAMES[:2], (True, True)),
    outcome("suite/1", 25, NAMES[2:], NAMES[2:], (False,)),
]


def test_what_was_written_comes_back_and_a_line_cut_short_is_written_anew(tmp_path):
    path = tmp_path / "replays.jsonl"
    write(path, ROWS[:1])
    with path.open("a") as file:
        file.write('{"task": "suite/0", "sta')
    assert read(path) == ROWS[:1]
    write(path, ROWS[1:])
    assert read(path) == ROWS


def test_failures_of_demonstrations_from_the_starts_of_each():
    expected = [[0, 1, 1], [0, 0, 1], [1, 1, 1]]
    np.testing.assert_array_equal(failures(ROWS, ACTIONS), expected)
    with pytest.raises(ValueError, match="from the starts of 1 of 3 demonstrations nothing was"):
        failures(ROWS[:2], ACTIONS)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other.jsonl"
    with pytest.raises(FileNotFoundError, match="replays writes one"):
        read(path)
    for content in ("no json\n", '{"task": "a"}\n', "3\n"):
        path.write_text(content)
        with pytest.raises(ValueError, match=r"other\.jsonl line 1 is no line of replays"):
            read(path)


def test_shares_leave_a_start_s_own_demonstrations_out():
    # Of the last start there is no other demonstration.
    np.testing.assert_array_equal(shares(ROWS), [0.0, 1.0])
    np.testing.assert_array_equal(shares([ROWS[0]._replace(own=())]), [0.5])
