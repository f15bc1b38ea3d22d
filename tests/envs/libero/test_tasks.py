"""LIBERO: sensors, initial states, success, seeds and pictures, on the real simulator."""

from types import SimpleNamespace

import numpy as np
import pytest

import envs
from experiments import evaluate
from experiments.evaluation import playing
from mummi.runs.logger import read_metrics
from tests.support import tiny
from tests.support.libero_here import needs_libero

pytestmark = needs_libero
REST = np.array([0.0] * 6 + [-1.0])
FORWARD = np.array([0.3, 0.1, -0.7, 0, 0, 0, -1])


def make(task, **changes):
    return envs.make(task, **{"image_size": 16} | changes)


def make_unsettled(task, **changes):
    """One whose objects are not left to come to rest before an episode."""
    environment = make(task, **changes)
    environment._settle = 0
    return environment


def play(environment, steps=5):
    """The first step of an episode and those after some actions."""
    return [environment.reset(), *(environment.step(FORWARD) for _ in range(steps))]


def require_same(one, other):
    for a, b in zip(one, other, strict=True):
        assert a.info == b.info and a.reward == b.reward
        for name in a.values:
            np.testing.assert_array_equal(a.values[name], b.values[name])


@pytest.fixture(scope="module")
def soup():
    """A task of the fastest suite, seen by every sensor."""
    names = ("agentview_rgb", "wrist_rgb", "instruction", "proprio")
    made = make("libero_object/0", seed=3, image_size=64, sensors=names)
    yield made
    made.close()


def test_values_are_as_declared_and_the_instruction_cannot_fail(soup):
    assert [m.name for m in soup.modalities if not m.can_fail] == ["instruction"]
    for step in play(soup, 2):
        assert list(step.values) == [m.name for m in soup.modalities]
        assert all(step.available.values())
        for modality in soup.modalities:
            value = step.values[modality.name]
            assert value.shape == modality.shape and value.dtype == modality.dtype
        assert step.values["agentview_rgb"].std() > 20 < step.values["wrist_rgb"].std()
        assert np.linalg.norm(step.values["instruction"]) == pytest.approx(1, abs=1e-5)
    proprio, truth = step.values["proprio"], soup.truth()
    np.testing.assert_array_equal(proprio[:7], truth["joints"])
    np.testing.assert_array_equal(proprio[9:], truth["hand"])


@pytest.mark.parametrize(
    "task",
    [
        *("libero_spatial/8", "libero_10/7"),
        # By the same moves; and a task of Goal's is collected in a test of its own.
        *(pytest.param(f"libero_{name}/8", marks=pytest.mark.slow) for name in ("object", "goal")),
    ],
)
def test_the_expert_earns_one_reward_in_a_task_of_each_suite(task):
    environment = make(task, sensors=("proprio",), horizon=250)
    step, rewards = environment.reset(), []
    while not step.is_last:
        action = environment.expert_action()
        assert action.shape == (7,) and np.abs(action).max() <= 1
        step = environment.step(action)
        rewards.append(step.reward)
    environment.close()
    assert step.is_terminal and step.info["success"] == 1
    assert rewards == [0.0] * (len(rewards) - 1) + [1.0]
    with pytest.raises(RuntimeError, match="the episode is over"):
        environment.step(action)


def test_an_episode_follows_from_its_seed_alone():
    before = np.random.get_state()[1].copy()
    one, other = (make("libero_goal/8", seed=(5, 6)) for _ in range(2))
    first, second = play(one), play(one)
    require_same(first, play(other, 5))
    require_same(second, play(other, 5))
    assert not np.array_equal(first[0].values["wrist_rgb"], second[0].values["wrist_rgb"])
    np.testing.assert_array_equal(before, np.random.get_state()[1])
    one.close()
    other.close()


def test_evaluation_and_training_start_from_different_official_states():
    from envs.libero.simulator import suite_tasks

    environment = make_unsettled("libero_object/0", seed=1, training=False, sensors=("proprio",))
    states = [environment.reset().info["initial_state"] for _ in range(26)]
    assert sorted(states[:25]) == list(range(25)) and states[25] in range(25)
    environment.close()
    environment = make_unsettled("libero_object/0", seed=1, sensors=("proprio",))
    drawn = {environment.reset().info["initial_state"] for _ in range(8)}
    assert drawn <= set(range(25, 50)) and len(drawn) > 3
    environment.close()
    chosen = make("libero_object/0", initial_state=7, sensors=("proprio",))
    assert chosen.reset().info["initial_state"] == 7
    # After settling, what lies flat is where the official state has it, to the centimetre.
    official = suite_tasks("libero_object")[0].initial_states()
    assert official.shape == (50, 110)
    np.testing.assert_allclose(chosen.physics_state()[1:8], official[7, 1:8], atol=0.05)
    chosen.close()


def test_a_suite_goes_through_its_tasks_in_order_and_names_each():
    from envs.instruction import embed
    from envs.libero.simulator import suite_tasks

    environment = make_unsettled("libero_goal", seed=2, training=False, sensors=("instruction",))
    tasks = suite_tasks("libero_goal")
    for index in range(2):
        step = environment.reset()
        assert step.info["task"] == index
        expected = embed((tasks[index].instruction,))[0]
        np.testing.assert_allclose(step.values["instruction"], expected, atol=1e-6)
    assert tasks[0].instruction == "open the middle layer of the drawer"
    environment.close()
    drawn = make_unsettled("libero_goal", seed=4, sensors=("proprio",))
    drawn._tasks = drawn._tasks[:2]
    assert len({drawn.reset().info["task"] for _ in range(3)}) > 1
    drawn.close()


def test_pictures_are_liberos_own_turned_upright(soup):
    """Against robosuite's rendering, whose rows come bottom first, in the same state."""
    from envs.libero.simulator import suite_tasks
    from libero.libero.envs import OffScreenRenderEnv  # isort: skip

    soup.reset()
    ours = soup.step(FORWARD).values
    task = suite_tasks("libero_object")[0]
    original = OffScreenRenderEnv(
        bddl_file_name=str(task.bddl), camera_heights=64, camera_widths=64
    )
    original.reset()
    seen = original.set_init_state(soup.physics_state())
    for name, key in (("agentview_rgb", "agentview"), ("wrist_rgb", "robot0_eye_in_hand")):
        picture = seen[f"{key}_image"].astype(float)
        turned = {
            "as it is": picture,
            "upright": picture[::-1],
            "mirrored": picture[:, ::-1],
            "turned": picture[::-1, ::-1],
        }
        errors = {how: np.abs(ours[name] - there).mean() for how, there in turned.items()}
        assert min(errors, key=errors.get) == "upright"
        assert errors["upright"] < 0.6 * min(v for k, v in errors.items() if k != "upright")
    original.close()


def test_fewer_faces_and_lean_steps_change_neither_physics_nor_much_of_the_picture(monkeypatch):
    from envs.arm_task import AGENTVIEW, WRIST
    from envs.libero import simulator as libero
    from envs.libero.scene import LiberoRenderer, simplify

    pictures, states, faces = [], [], []
    actions = np.random.default_rng(0).uniform(-1, 1, (12, 7))
    for few in (True, False):
        if not few:
            monkeypatch.setattr(libero, "LeanStep", type("RobosuitesOwn", (), {}))
        simulator = libero.LiberoSimulator(libero.suite_tasks("libero_object")[0])
        if few:
            simplify(simulator.mujoco_model)
        simulator.reset_to(3, np.random.SeedSequence(0))
        for action in actions:
            simulator.step(action)
        renderer = LiberoRenderer(simulator.mujoco_model, 128)
        views = [renderer.view(simulator.mujoco_data, name)[0] for name in (AGENTVIEW, WRIST)]
        pictures.append(np.stack(views).astype(int))
        states.append(simulator.state)
        faces.append(simulator.mujoco_model.mesh_facenum.sum())
        renderer.close()
    np.testing.assert_array_equal(*states)
    assert faces[0] < faces[1] / 2
    assert np.abs(pictures[0] - pictures[1]).mean() < 3.5


def test_a_task_that_is_played_again_is_as_if_it_were_made_anew(monkeypatch):
    from envs.libero import scene as libero
    from envs.libero import tasks

    made, simulator = [], libero.LiberoSimulator
    monkeypatch.setattr(tasks, "SCENES", libero.Scenes())
    monkeypatch.setattr(
        libero, "LiberoSimulator", lambda task: made.append(task) or simulator(task)
    )
    environments = [make("libero_goal", seed=2, training=False, image_size=32) for _ in range(2)]
    for environment in environments:
        environment._tasks = environment._tasks[:2]
    kept, fresh = environments
    episodes = [play(kept, 3) for _ in range(3)]
    assert len(made) == 3 and [e[0].info["task"] for e in episodes] == [0, 1, 0]
    require_same(episodes[2], [fresh.reset(2), *(fresh.step(FORWARD) for _ in range(3))])
    assert not np.array_equal(
        episodes[0][0].values["agentview_rgb"], episodes[2][0].values["agentview_rgb"]
    )
    first = kept.render(24)
    play(kept, 1)
    assert not np.array_equal(kept.render(24), first)
    kept.close()
    fresh.close()


def test_the_scene_given_back_last_serves_the_next_of_its_task_and_size(monkeypatch):
    from envs.libero import scene as libero

    closed = []

    class Scene:
        def __init__(self, task, size):
            self.simulator, self.size = SimpleNamespace(task=task), size

        def close(self):
            closed.append(self)

    monkeypatch.setattr(libero, "Scene", Scene)
    scenes = libero.Scenes()
    first, second = scenes.take("soup", 32), scenes.take("soup", 32)
    assert first is not second
    scenes.give_back(first)
    scenes.give_back(second)
    assert closed == [first]
    assert scenes.take("soup", 32) is second
    scenes.give_back(second)
    larger = scenes.take("soup", 64)
    scenes.give_back(larger)
    assert scenes.take("bowl", 64) is not larger and closed == [first, second, larger]


def test_several_environments_in_one_process_do_not_disturb_each_other():
    one = make("libero_object/0", seed=3, image_size=32)
    alone = one.reset().values["agentview_rgb"]
    other = make("libero_goal/0", seed=1, image_size=48)
    other.reset()
    one.close()
    again = make("libero_object/0", seed=3, image_size=32)
    other.step(FORWARD)
    other.close()
    np.testing.assert_array_equal(again.reset().values["agentview_rgb"], alone)
    assert again.render(40).shape == (40, 40, 3)
    again.close()


def test_a_camera_that_is_not_seen_changes_nothing_else(monkeypatch):
    whole, half = (
        make("libero_object/0", seed=1),
        make("libero_object/0", seed=1, unseen=["wrist_rgb"]),
    )
    from envs.libero.scene import LiberoRenderer

    seen, drawn, view = play(whole, 3), [], LiberoRenderer.view
    monkeypatch.setattr(
        LiberoRenderer,
        "view",
        lambda renderer, data, name: drawn.append(name) or view(renderer, data, name),
    )
    for one, other in zip(seen, play(half, 3), strict=True):
        assert (one.info, one.reward) == (other.info, other.reward)
        for name in ("agentview_rgb", "instruction"):
            np.testing.assert_array_equal(one.values[name], other.values[name])
        assert not other.values["wrist_rgb"].any() and one.values["wrist_rgb"].any()
        assert other.available == one.available | {"wrist_rgb": False}
    assert set(drawn) == {"agentview"}
    whole.close()
    half.close()


def test_a_task_of_long_lasts_twice_as_long_and_begins_at_rest():
    from envs.libero.simulator import LiberoSimulator, suite_tasks
    from envs.libero.tasks import timing

    assert timing("libero_10").horizon == 2 * timing("libero_goal").horizon == 520
    simulator = LiberoSimulator(suite_tasks("libero_10")[1])
    simulator.reset_to(30, np.random.SeedSequence(0))
    assert [part[:2] for part in simulator.unmet] == [["in", "cream_cheese_1"], ["in", "butter_1"]]
    names, places = ("ketchup_1", "milk_1", "orange_juice_1"), []
    for _ in range(2):
        for _ in range(timing("libero_10").settle):
            simulator.step(REST)
        places.append([simulator.position(name) for name in names])
    np.testing.assert_allclose(*places, atol=2e-3)


def test_an_episode_ends_at_the_horizon():
    environment = make("libero_object/0", horizon=6, action_repeat=2, sensors=("proprio",))
    environment.reset()
    steps = [environment.step(np.zeros(7)) for _ in range(3)]
    assert [step.is_last for step in steps] == [False, False, True]
    assert not steps[-1].is_terminal and steps[-1].info["success"] == 0
    environment.close()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"background": "clips"}, "background is 'clips'"),
        ({"action_repeat": 7}, "action_repeat is 7; it must be a positive divisor of 260"),
        ({"sensors": ("depth",)}, "choose at least one, each once, of agentview_rgb, wrist_rgb"),
        ({"initial_state": 50}, "initial_state is 50; it must be from 0 to 49"),
        ({"encoder": "no/such"}, "unknown encoder 'no/such'"),
        ({"unseen": ["wrist"]}, "unknown modality 'wrist' in unseen .*did you mean 'wrist_rgb'"),
        ({"unseen": ["instruction"]}, "modality 'instruction' in unseen cannot fail"),
    ],
)
def test_bad_arguments_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make("libero_object/0", **changes)


def test_a_bad_action_is_refused(soup):
    soup.reset()
    for action in (np.zeros(6), np.full(7, np.nan)):
        with pytest.raises(ValueError, match="it must be 7 finite numbers"):
            soup.step(action)


@pytest.mark.slow  # imitation on LIBERO is checked in every run of the tests
@pytest.mark.usefixtures("quick_compile")
def test_a_task_trains_and_evaluates(tmp_path, monkeypatch):
    flags = ("--image-size", "32", "--env.horizon", "20", "--action-repeat", "1")
    flags += ("--prefill", "20", "--updates-per-1000", "50", "--missing", "medium")
    settings = tiny.run(tmp_path, *flags, "--steps", "60", task="libero_object/7")
    made = [(r["step"], r["updates"]) for r in read_metrics(tmp_path) if "updates" in r]
    assert made[-1] == (60, tiny.target_updates(settings))
    arguments = evaluate.Arguments(str(tmp_path), drop=("wrist_rgb",), episodes=1, agreement=False)
    made, unseen = playing.evaluation_environments, []
    monkeypatch.setattr(
        playing,
        "evaluation_environments",
        lambda *args, **changes: unseen.append(changes["unseen"]) or made(*args, **changes),
    )
    results = evaluate.evaluate(arguments)
    assert unseen == [(), ("wrist_rgb",)]
    missing = [result.missing[0] for result in results.values()]
    assert missing == pytest.approx([0, 1 / 3])
    assert [result.lengths for result in results.values()] == [[20]] * len(results)
    told = {"success", "never_closed", "not_lifted", "not_brought"}
    assert all(set(result.last) == told for result in results.values())
    assert all(sum(result.last.values()) == 1 for result in results.values())
    assert all(info["task"] == 7 for result in results.values() for info in result.info)
