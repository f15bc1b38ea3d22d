"""Environments in workers give what one environment alone gives, and survive their workers."""

import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import envs
from envs.processes.in_process import InProcess
from envs.processes.parallel import MAX_RESTARTS, ParallelEnvironments
from envs.processes.worker import record
from tests.support import robots

pytestmark = pytest.mark.usefixtures("workers")

SIZE = 16
SEEDS = [3, 4]
LENGTH = 20  # steps of an episode of the dummy task


def parallel(seeds=SEEDS, **kwargs):
    return ParallelEnvironments("dummy", seeds, image_size=SIZE, **kwargs)


def random_actions(steps):
    return np.random.default_rng(0).uniform(-1, 1, (steps, len(SEEDS), 2)).astype(np.float32)


def kill(pool, k):
    pool._workers[k]._child.kill()
    pool._workers[k]._child.wait()


def rows(batch, k):
    """Everything of environment k in one batch, comparable with ==."""
    return {
        **{name: value[k].tobytes() for name, value in batch.values.items()},
        **{f"{name} available": bool(value[k]) for name, value in batch.available.items()},
        "reward": batch.reward[k],
        "flags": (batch.is_first[k], batch.is_last[k], batch.is_terminal[k], batch.restarted[k]),
        "info": batch.info[k],
    }


def alone(seed, actions, **kwargs):
    """The time steps of one environment, reset where its episode ended, as ``rows`` gives them."""
    environment = envs.make("dummy", seed=seed, image_size=SIZE, **kwargs)
    step = environment.reset()
    for action in [*actions, None]:
        yield {
            **{m.name: step.values[m.name].tobytes() for m in environment.modalities},
            **{f"{m.name} available": step.available[m.name] for m in environment.modalities},
            "reward": np.float32(step.reward),
            "flags": (step.is_first, step.is_last, step.is_terminal, False),
            "info": dict(step.info),
        }
        if action is not None:
            step = environment.reset() if step.is_last else environment.step(action)


@pytest.mark.parametrize("processes", [True, False])
@pytest.mark.parametrize("missing", ["none", "medium"])
def test_each_row_is_what_its_environment_gives_alone(processes, missing):
    actions = random_actions(3 * LENGTH)
    with parallel(processes=processes, missing=missing) as pool:
        batches = [pool.reset(), *(pool.step(action) for action in actions)]
        assert len(pool) == 2 and pool.restarts == 0
        assert (pool.action_size, pool.action_repeat) == (2, 1)
        assert [m.name for m in pool.modalities] == ["image", "depth", "vector", "embedding"]
    for k, seed in enumerate(SEEDS):
        expected = list(alone(seed, actions[:, k], missing=missing))
        assert [rows(batch, k) for batch in batches] == expected


def test_values_and_actions_are_aligned_and_kept_batches_do_not_change():
    actions = random_actions(LENGTH)
    with parallel() as pool:
        batches = [pool.reset(), *(pool.step(action) for action in actions)]
        pool.step(actions[0])
    for step, batch in enumerate(batches):
        assert batch.values["image"].shape == (2, SIZE, SIZE, 3)
        assert batch.values["image"].dtype == np.uint8 and (batch.values["image"] == step).all()
        assert (batch.values["vector"][:, 0] == step).all()
        assert batch.reward.dtype == np.float32
        if step:
            np.testing.assert_allclose(
                batch.values["vector"][:, 3], actions[step - 1].sum(axis=1), rtol=1e-6
            )
            np.testing.assert_allclose(batch.reward, actions[step - 1].mean(axis=1), rtol=1e-6)


def test_an_episode_that_ended_is_reset_by_the_next_step_which_ignores_its_action():
    with parallel() as pool:
        pool.step(np.full((2, 2), np.nan))  # the very first step is a reset as well
        for _ in range(LENGTH):
            batch = pool.step(np.ones((2, 2)))
        assert batch.is_last.all() and not batch.is_terminal.any()
        assert [info["success"] for info in batch.info] == [1.0, 1.0]
        batch = pool.step(np.full((2, 2), np.nan))
        assert batch.is_first.all() and not batch.is_last.any() and not batch.restarted.any()
        assert (batch.values["vector"][:, 1] == 1).all() and not batch.reward.any()
        pool.step(np.ones((2, 2)))
        batch = pool.reset()
        assert batch.is_first.all() and (batch.values["vector"][:, 1] == 2).all()


def test_pictures_show_the_present_step_and_an_error_in_one_leaves_the_rest_in_order():
    with parallel() as pool:
        pool.reset()
        pool.step(np.ones((2, 2)))
        assert [(p.shape, p.max()) for p in pool.render(32)] == [((32, 32, 3), 1)] * 2
        with pytest.raises(ValueError, match="negative"):
            pool.render(-1)
        assert (pool.step(np.ones((2, 2))).values["vector"][:, 0] == 2).all()
        assert pool.restarts == 0


def test_a_killed_worker_is_replaced_and_only_its_episode_is_dropped():
    with parallel() as pool:
        seeds = pool.reset().values["vector"][:, 2]
        pool.step(np.ones((2, 2)))
        kill(pool, 0)
        assert not pool.render(8)[0].any() and pool.render(8)[1].all()
        with pytest.warns(RuntimeWarning, match=r"worker 0 of task 'dummy' .*killed by signal 9"):
            batch = pool.step(np.ones((2, 2)))
        assert pool.restarts == 1
        assert batch.restarted.tolist() == [True, False] == batch.is_first.tolist()
        assert batch.values["vector"][:, 0].tolist() == [0, 2]
        assert batch.values["vector"][0, 2] != seeds[0] and batch.values["vector"][1, 2] == seeds[1]
        batch = pool.step(np.ones((2, 2)))
        assert not batch.restarted.any() and batch.values["vector"][:, 0].tolist() == [1, 3]


def test_a_worker_that_raises_is_replaced_and_the_warning_quotes_it():
    with parallel() as pool:
        pool.reset()
        with pytest.warns(RuntimeWarning, match=r"worker 1 .* after ValueError: action is .*nan"):
            batch = pool.step(np.array([[1, 1], [1, np.nan]]))
        assert batch.restarted.tolist() == [False, True]
        assert batch.values["vector"][:, 0].tolist() == [1, 0]


def test_an_exception_in_this_process_is_raised_as_it_is():
    with parallel(processes=False) as pool:
        pool.reset()
        with pytest.raises(ValueError, match="action is"):
            pool.step(np.full((2, 2), np.nan))


@pytest.mark.filterwarnings("ignore:environment worker")
def test_restarting_stops_when_no_step_is_ever_completed():
    with parallel(seeds=[0]) as pool:
        pool.reset()
        for _ in range(MAX_RESTARTS):
            assert pool.step(np.full((1, 2), np.nan)).restarted.all()
        assert pool.restarts == MAX_RESTARTS
        with pytest.raises(RuntimeError, match=r"worker 0 .* without progress.*action is"):
            pool.step(np.full((1, 2), np.nan))


@pytest.mark.parametrize("processes", [True, False])
@pytest.mark.parametrize(
    ("task", "kwargs", "message"),
    [
        ("dumy", {}, "unknown task 'dumy'"),
        ("dummy", {"image_size": 0}, "modality 'image' .* shape"),
        ("dummy", {"missing": "hihg"}, "did you mean 'high'"),
        ("dummy", {"lenth": 5}, "unknown option 'lenth' of task 'dummy' .*did you mean 'length'"),
    ],
)
def test_an_environment_that_cannot_be_made_raises_its_own_error(processes, task, kwargs, message):
    with pytest.raises(ValueError, match=message):
        ParallelEnvironments(task, [0, 1], processes=processes, **kwargs)


def test_full_shared_memory_is_named_with_the_remedy():
    """A limit on the size of files stands for full memory: the kernel refuses both alike."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match=r"/dev/shm has no room .* take fewer environments"):
            parallel()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_an_action_that_is_not_finite_is_refused_by_every_task_that_needs_no_simulator():
    for task in ("dummy", "toy_x_y"):
        for bad in (np.nan, np.inf, -np.inf):
            environment = envs.make(task, image_size=SIZE)
            environment.reset()
            with pytest.raises(ValueError, match="it must be 2 finite numbers"):
                environment.step(np.array([0, bad]))


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="seeds is empty"):
        parallel(seeds=[])
    with parallel(processes=False) as pool:
        with pytest.raises(ValueError, match=r"shape \(2,\); .* need \(2, 2\)"):
            pool.step_async(np.zeros(2))
        with pytest.raises(RuntimeError, match="not under way"):
            pool.step_wait()
        pool.step_async(np.zeros((2, 2)))
        with pytest.raises(RuntimeError, match="already under way"):
            pool.step_async(np.zeros((2, 2)))


def test_the_shared_record_holds_no_more_than_it_names():
    modalities = envs.make("dummy", image_size=SIZE).modalities
    layout = record(modalities, 2)
    values = sum(m.dtype.itemsize * int(np.prod(m.shape)) for m in modalities)
    assert values < layout.itemsize < values + 64
    assert layout["values"].names == tuple(m.name for m in modalities)


def running(pid):
    """Whether the process exists and is not a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


PARENT = """
import sys, time
open(sys.argv[1], "a").write("run ")
from envs.processes.parallel import ParallelEnvironments
pool = ParallelEnvironments("dummy", [0, 1], image_size=16)
pool.reset()
print(*(worker._child.pid for worker in pool._workers), flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="reads /proc")
def test_workers_import_neither_jax_nor_the_callers_main_and_end_when_it_is_killed(tmp_path):
    (tmp_path / "main.py").write_text(PARENT)
    runs = tmp_path / "runs"
    with subprocess.Popen(
        [sys.executable, tmp_path / "main.py", runs],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        stdout=subprocess.PIPE,
        text=True,
    ) as caller:
        workers = [int(pid) for pid in caller.stdout.readline().split()]
        assert len(workers) == 2 and all(map(running, workers))
        for pid in workers:
            os.kill(pid, signal.SIGINT)  # a worker leaves Ctrl-C to its caller
        time.sleep(0.2)
        assert all(map(running, workers))
        with open(f"/proc/{workers[0]}/maps") as file:
            assert "jaxlib" not in file.read()
        assert runs.read_text() == "run "
        caller.kill()
    assert wait_until(lambda: not any(map(running, workers)))


def test_close_ends_the_workers_and_the_memory_has_no_name_to_outlive_them():
    with parallel() as pool:
        children = [worker._child for worker in pool._workers]
        assert os.fstat(pool._memory.fileno()).st_nlink == 0
    assert [child.returncode for child in children] == [0, 0]


@pytest.mark.parametrize("processes", [False, True])
def test_the_physical_state_is_asked_of_every_environment(processes):
    with parallel(processes=processes) as pool:
        pool.reset()
        pool.step(np.ones((2, 2)))
        assert [truth["step"].tolist() for truth in pool.truth()] == [[1.0], [1.0]]


@pytest.mark.parametrize("processes", [False, True])
def test_the_expert_is_asked_of_every_environment_through_its_failing_sensors(processes):
    with parallel(processes=processes, missing="high") as pool:
        pool.reset()
        np.testing.assert_array_equal(pool.expert_action(), np.ones((2, 2), np.float32))


def test_a_task_without_an_expert_says_so():
    said = pytest.raises(ValueError, match="task 'toy_x_y' has no scripted expert")
    for missing in ("none", "high"):
        pool = ParallelEnvironments("toy_x_y", [0], processes=False, missing=missing)
        with pool, said:
            pool.expert_action()


def test_an_option_of_the_task_is_its_own_argument():
    with ParallelEnvironments("dummy", [0], processes=False, length=3) as pool:
        pool.reset()
        assert [bool(pool.step(np.zeros((1, 2))).is_last[0]) for _ in range(3)] == [
            False,
            False,
            True,
        ]


ROBOTS = "tests.support.robots"


@pytest.mark.parametrize("processes", [False, True])
def test_a_number_is_played_where_an_episode_begins_and_ignored_elsewhere(processes):
    with parallel(seeds=[3, 3], processes=processes) as pool:
        assert pool.reset(numbers=[4, 9]).values["vector"][:, 1].tolist() == [4, 9]
        for _ in range(LENGTH):
            batch = pool.step(np.ones((2, 2)), numbers=[7, 7])
            assert batch.values["vector"][:, 1].tolist() == [4, 9]
        batch = pool.step(np.ones((2, 2)), numbers=[9, None])
        assert batch.is_first.all() and batch.values["vector"][:, 1].tolist() == [9, 0]
        alone = envs.make("dummy", seed=3, image_size=SIZE)
        np.testing.assert_array_equal(
            batch.values["embedding"][0], alone.reset(9).values["embedding"]
        )


def test_numbers_that_cannot_be_are_refused():
    with parallel(processes=False) as pool:
        with pytest.raises(ValueError, match=r"numbers are \[1\]; 2 environments need one each"):
            pool.reset(numbers=[1])
        with pytest.raises(ValueError, match="episode number is -1"):
            pool.reset(numbers=[0, -1])


def test_a_numbered_episode_that_was_lost_is_played_again_from_the_same_seed():
    with parallel(seeds=[3, 3]) as pool:
        first = pool.reset(numbers=[4, 5])
        pool.step(np.ones((2, 2)))
        kill(pool, 0)
        with pytest.warns(RuntimeWarning, match="worker 0"):
            batch = pool.step(np.ones((2, 2)), numbers=[8, 8])
        assert batch.restarted.tolist() == [True, False]
        for name, value in batch.values.items():
            np.testing.assert_array_equal(value[0], first.values[name][0])
        kill(pool, 1)
        pool._over[1] = True  # as after its last step: it dies while the next one begins
        with pytest.warns(RuntimeWarning, match="worker 1"):
            batch = pool.step(np.ones((2, 2)), numbers=[None, 6])
        assert batch.values["vector"][1, 1] == 6


@pytest.mark.filterwarnings("ignore:environment worker")
def test_a_numbered_episode_that_always_fails_at_the_same_step_ends_the_run():
    with ParallelEnvironments(f"{ROBOTS}:NumberedSleeper", [0]) as pool:
        pool.reset(numbers=[3])
        for _ in range(MAX_RESTARTS):
            pool.step(np.zeros((1, 1)))
            assert pool.step(np.full((1, 1), -1)).restarted.all()
        pool.step(np.zeros((1, 1)))
        with pytest.raises(RuntimeError, match=r"without progress.*the arm fell off"):
            pool.step(np.full((1, 1), -1))


def test_a_worker_that_hangs_is_killed_replaced_and_counted():
    with ParallelEnvironments(f"{ROBOTS}:NumberedSleeper", [0, 0], timeout=0.5) as pool:
        first = pool.reset(numbers=[2, 3])
        begun = time.monotonic()
        said = r"worker 1 .* after WorkerDied: .* gave no answer for 0.5 s and was killed"
        with pytest.warns(RuntimeWarning, match=said):
            batch = pool.step(np.array([[0.0], [1.0]]))
        assert 0.5 < time.monotonic() - begun < 60
        assert pool.restarts == 1 and batch.restarted.tolist() == [False, True]
        np.testing.assert_array_equal(batch.values["joints"][1], first.values["joints"][1])
        assert pool.step(np.zeros((2, 1))).values["joints"][:, 1].tolist() == [2, 1]
    with pytest.raises(ValueError, match="timeout is 0; it must be a positive number of seconds"):
        parallel(timeout=0)


@pytest.mark.parametrize("where", ["image", "depth", "vector", "embedding"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_a_missing_one_in_this_process(where, bad):
    with InProcess([robots.Broken(bad, where)]) as pool:
        check_broken(pool, where)


def test_a_value_that_is_not_finite_is_a_missing_one_in_a_worker():
    with ParallelEnvironments(f"{ROBOTS}:Broken", [0]) as pool:
        check_broken(pool, "depth")


def check_broken(pool, where):
    pool.reset()
    assert all(pool.step(np.zeros((1, 1))).available.values()) and not pool.broken
    with pytest.warns(RuntimeWarning, match=f"sensor '{where}' .* is not finite") as said:
        batches = [pool.step(np.zeros((1, 1))) for _ in range(3)]
    assert len(said) == 1 and pool.broken == {where: 3}
    for batch in batches:
        assert {n: a.tolist() for n, a in batch.available.items()} == {
            name: [name != where] for name in batch.available
        }
        assert not batch.values[where].any()
        assert all((v == 1).all() for name, v in batch.values.items() if name != where)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_reward_that_is_not_finite_is_raised_in_this_process(bad):
    with envs.in_process(robots.Broken(bad, "reward")) as pool:
        pool.reset()
        pool.step(np.zeros((1, 1)))
        with pytest.raises(ValueError, match=f"reward of task .* is {bad}, not finite"):
            pool.step(np.zeros((1, 1)))


def test_a_reward_that_is_not_finite_loses_the_episode_of_a_worker():
    with ParallelEnvironments(f"{ROBOTS}:Broken", [0], where="reward") as pool:
        pool.reset()
        pool.step(np.zeros((1, 1)))
        with pytest.warns(RuntimeWarning, match="the reward of task .* is nan, not finite"):
            batch = pool.step(np.zeros((1, 1)))
        assert batch.restarted.all() and pool.restarts == 1 and not batch.reward.any()
