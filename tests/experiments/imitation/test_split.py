"""What is held out: how many, which, alike of each instruction, and what a world model brings."""

import dataclasses

import numpy as np
import pytest

from experiments.imitation.split import divide, draw, instructions, measured
from mummi.imitation import record
from mummi.imitation.demonstrations import Demonstration, Reading
from mummi.imitation.heads.bc import BCConfig
from mummi.imitation.record import Imitation, Split
from tests.support import demonstration_files, foreign, imitated

NAMES = tuple(f"demo_{n}" for n in range(10))
TOLD = dict.fromkeys(NAMES)


def split_of(path, **given):
    return divide(Imitation(str(path), **given), TOLD, seed=0)


@pytest.mark.parametrize(("share", "count"), [(None, 1), (0.01, 1), (0.25, 2), (0.5, 5), (0.94, 9)])
def test_a_share_is_held_out_and_at_least_one(share, count):
    split = split_of("data", held_out=share)
    assert len(split.held_out) == count
    assert sorted(split.trained + split.held_out) == sorted(NAMES)
    assert split == split_of("data", held_out=share)


def test_the_seed_draws_which():
    found = {divide(Imitation("data"), TOLD, seed).held_out for seed in range(20)}
    assert len(found) > 3


def test_none_are_held_out_of_a_share_of_zero():
    assert split_of("data", held_out=0.0) == Split(NAMES, (), (), ())


@pytest.mark.parametrize(
    ("sizes", "share", "counts"),
    [
        ((20, 20, 20), 0.1, (2, 2, 2)),
        ((40, 20, 20), 0.1, (4, 2, 2)),
        ((10, 10, 10, 10, 10), 0.3, (3, 3, 3, 3, 3)),
        ((3, 30), 0.2, (1, 6)),
    ],
)
def test_each_instruction_gives_its_share(sizes, share, counts):
    told = {
        f"{group}/{n}": f"task {group}" for group, size in enumerate(sizes) for n in range(size)
    }
    drawn = set()
    for seed in range(5):
        held = draw(told, share, seed)
        found = [sum(told[name] == f"task {group}" for name in held) for group in range(len(sizes))]
        assert tuple(found) == counts
        assert list(held) == [name for name in told if name in held]
        drawn.add(held)
    assert len(drawn) > 1


def test_fewer_than_instructions_are_of_different_ones():
    told = {f"{group}/{n}": str(group) for group in range(10) for n in range(5)}
    assert len({told[name] for name in draw(told, 0.1, 0)}) == 5


def test_instructions_are_those_of_the_data(tmp_path):
    path = demonstration_files.libero(tmp_path / "open_the_drawer_demo.hdf5")
    assert set(instructions(str(path), Reading()).values()) == {"open the drawer"}
    path = foreign.write(tmp_path / "foreign.hdf5")
    assert instructions(str(path), Reading()) == {f"demo_{n}": None for n in range(6)}


def test_one_demonstration_is_too_few():
    with pytest.raises(ValueError, match=r"of 1 demonstrations 1 are held out and none is left"):
        divide(Imitation("data"), {"demo_0": None}, 0)
    with pytest.raises(ValueError, match=r"--held-out is 1\.5; a share is at least 0 and below 1"):
        Imitation("data", held_out=1.5)


def test_a_world_model_keeps_its_own_demonstrations_held_out(tmp_path):
    path, source = tmp_path / "data.hdf5", tmp_path / "source"
    record.save(source, Imitation(str(path), settings=BCConfig()))
    record.save_split(source, Split(("demo_0", "demo_1"), ("demo_2", "demo_3"), (), ()))
    split = split_of(path, world_model=str(source))
    assert split.held_out == ("demo_2", "demo_3") and "demo_9" in split.trained
    with pytest.raises(ValueError, match="leave --held-out out"):
        split_of(path, world_model=str(source), held_out=0.3)
    elsewhere = split_of(tmp_path / "other.hdf5", world_model=str(source), held_out=0.3)
    assert len(elsewhere.held_out) == 3


def test_a_world_model_of_experiments_train_has_held_out_none(tmp_path):
    imitated.untrained(tmp_path / "trained")
    split = split_of("data", world_model=str(tmp_path / "trained"), held_out=0.3)
    assert len(split.held_out) == 3


def test_numbers_are_of_the_actions_that_are_learned_from():
    random = np.random.default_rng(0)
    actions = [random.normal(size=(n, 2)) * [3, 0] + [1, 7] for n in (4, 9)]
    made = [Demonstration({}, a.astype(np.float32), a[:, 0], a[:, 0] > 9) for a in actions]
    split = measured(Split(("a", "b"), ("c",), (), ()), made, 20)
    np.testing.assert_allclose(split.mean, np.concatenate(actions).mean(0), rtol=1e-5)
    assert split.std[0] == pytest.approx(np.concatenate(actions)[:, 0].std(), rel=1e-5)
    assert (split.std[1], split.rate) == (0.0, 20.0)
    assert dataclasses.replace(split, mean=(), std=(), rate=None).held_out == ("c",)
    assert split.two_valued == {}


def test_two_valued_actions_are_kept_with_the_split(tmp_path):
    actions = np.array([[0.1, 0], [0.2, 1], [0.9, 1], [0.5, 0]], np.float32)
    made = [Demonstration({}, actions, actions[:, 0], actions[:, 0] > 9)]
    split = measured(Split(("a",), (), (), ()), made, None)
    assert split.two_valued == {1: (0.0, 1.0)}
    record.save_split(tmp_path, split)
    assert record.load_split(tmp_path) == split
    assert measured(split, made, None, ()).two_valued == {}
    with pytest.raises(ValueError, match="--two-valued names action 2, and the data have 2"):
        measured(split, made, None, (2,))
    chosen = Imitation("data", settings=BCConfig(), two_valued=(1,), hysteresis=0.4)
    record.save(tmp_path, chosen)
    assert record.load(tmp_path) == chosen
    with pytest.raises(ValueError, match=r"--hysteresis 1.0 must be at least 0 and below 1"):
        Imitation("data", hysteresis=1.0)
