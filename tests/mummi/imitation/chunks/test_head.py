"""The chunk head: windows, planning, choice, saving, and what it refuses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mummi.imitation.chunks.choice import scores
from mummi.imitation.chunks.config import CONFIGS, ChunkConfig, MirrorConfig
from mummi.imitation.chunks.head import ChunkHead
from mummi.imitation.chunks.network import min_max, z_score
from mummi.imitation.chunks.training import drawn, windows
from mummi.imitation.heads.head import HEADS, Percept, Sizes, Trajectory
from mummi.presets import CHUNKS
from tests.support.small import MODALITIES, draw_value

pytestmark = pytest.mark.usefixtures("quick_compile")

F, A, B = 3, 2, 2
SIZES = Sizes(MODALITIES, F, {}, A)
SMALL = {
    "backbone": "performer", "observe": 2, "predict": 4, "execute": 2, "width": 8, "blocks": 1,
    "heads": 2, "features": 8, "unet_widths": (8, 8), "image_width": 8, "windows": 20, "batch": 5,
    "learning_rate": 1e-2, "warmup": 1, "report_every": 2,
}  # fmt: skip
TINY = MirrorConfig(**SMALL, candidates=3, samples=3)


def tiny(objective: str, **changes) -> ChunkConfig:
    """Settings of an objective at small sizes."""
    settings = SMALL | changes
    settings |= {} if objective == "mse" else {"candidates": 3}
    return CONFIGS[objective](**settings)


key = jax.random.PRNGKey(0)


def percept(lead: int, seed: int = 0, missing: float = 0.3) -> Percept:
    random = np.random.default_rng(seed)
    feature = random.normal(size=(lead, F)).astype(np.float32)
    values = {m.name: draw_value(random, m, (lead,)) for m in MODALITIES}
    available = {m.name: random.random(lead) >= missing for m in MODALITIES}
    return Percept(feature, {}, values, available)


def demonstrations(count: int = 2, steps: int = 5) -> list[Trajectory]:
    random = np.random.default_rng(1)
    actions = [random.uniform(2, 6, (steps, A)).astype(np.float32) for _ in range(count)]
    return [Trajectory(percept(steps, i), action) for i, action in enumerate(actions)]


def ready(**changes) -> ChunkHead:
    """A head with initial parameters, whose actions span [2, 6]."""
    head = ChunkHead(dataclasses.replace(TINY, **changes), SIZES)
    scales = head.network.blank_scales()
    scales["action"] = min_max(np.array([[2, 2], [6, 6]], np.float32))
    head._take(jax.jit(head.network.init)(key), scales)
    return head


def acting(head: ChunkHead, steps: int, firsts=()) -> tuple[list, list]:
    """Actions and carries of ``steps`` steps; ``firsts`` are pairs of step and robot."""
    carry, actions, carries = head.reset(B), [], []
    for step in range(steps):
        first = np.array([step == 0 or (step, robot) in firsts for robot in range(B)])
        action, carry = head.act(carry, percept(B, step), first, jax.random.fold_in(key, step))
        actions.append(action)
        carries.append(carry)
    return actions, carries


@pytest.mark.parametrize("lengths", [[3], [1, 4, 2]])
def test_windows_repeat_the_ends_of_their_own_episode(lengths):
    history, future = windows(lengths, 3, 4)
    row, start = 0, 0
    for length in lengths:
        for t in range(length):
            assert list(history[row]) == [start + max(t + i, 0) for i in (-2, -1, 0)]
            assert list(future[row]) == [start + min(t + i, length - 1) for i in range(4)]
            row += 1
        start += length
    assert row == len(history) == len(future)


def test_scales_map_ranges_and_deviations_and_leave_constants_alone():
    x = np.random.default_rng(0).uniform(-3, 9, (50, 2)).astype(np.float32)
    x[:, 1] = 7
    scaled = min_max(x).normalise(x)
    np.testing.assert_allclose((scaled.min(0), scaled.max(0)), ((-1, 0), (1, 0)), atol=1e-6)
    np.testing.assert_allclose(min_max(x).restore(scaled), x, rtol=1e-5)
    scored = z_score(x).normalise(x)
    np.testing.assert_allclose((scored.mean(0), scored.std(0)), ((0, 0), (1, 0)), atol=1e-5)


def test_windows_are_drawn_by_the_changes_of_the_actions_that_are_taken():
    """Two episodes, in the second of which the only action changes, at its third step."""
    actions = np.array([[0.0]] * 4 + [[0.0], [0.0], [1.0], [1.0]], np.float32)
    _, future = windows([4, 4], 1, 4)
    assert drawn(tiny("mse"), actions, [4, 4], future) is None
    ends = drawn(tiny("mse", change_share=0.5, execute=2), actions, [4, 4], future)
    # All change is at row 6, a half of the 8 rows' weight, and two windows take it.
    weights = np.full(8, 0.5)
    weights[6] += 0.5 * 8
    of_windows = [weights[list(rows[:2])].mean() for rows in future]
    np.testing.assert_allclose(ends, np.cumsum(of_windows) / np.sum(of_windows), rtol=1e-6)
    assert of_windows[5] == of_windows[6] == 2.5
    with pytest.raises(ValueError, match=r"change_share 2.0 must be between 0 and 1"):
        tiny("mse", change_share=2.0)


@pytest.mark.parametrize(
    "objective",
    # MIRROR's loss is that of imle and a soft term.
    [*(name for name in CONFIGS if name != "imle"), pytest.param("imle", marks=pytest.mark.slow)],
)
def test_every_objective_learns_and_acts_in_the_environments_scale(objective):
    backbones = {"imle": "unet", "diffusion": "unet", "beso": "transformer"}
    backbone = backbones.get(objective, "performer")
    config = tiny(objective, backbone=backbone, unet_widths=(8,), windows=10, report_every=1)
    if objective == "mse":
        config = dataclasses.replace(config, change_share=0.5)
    head, reports = ChunkHead(config, SIZES), []
    head.fit(demonstrations(), 0, lambda update, metrics: reports.append((update, metrics)))
    assert [update for update, _ in reports] == [1, 2]
    assert all(np.isfinite(list(metrics.values())).all() for _, metrics in reports)
    if objective == "mirror":
        shares = {"rejected", "fallback", "capped", "threshold", "hard", "soft_share"}
        assert shares <= set(reports[0][1])
    actions, carries = acting(head, 3)
    assert actions[0].shape == (B, A) and actions[0].dtype == np.float32
    assert (np.array(actions) >= 2).all() and (np.array(actions) <= 6).all()
    assert np.isnan(carries[0].diversity).all() == (objective == "mse")

    again = ChunkHead(config, SIZES)
    again.restore(head.arrays())
    np.testing.assert_array_equal(acting(again, 3)[0], actions)


def test_a_chunk_is_taken_step_by_step_and_made_anew_when_it_is_used_up():
    head = ready()
    actions, carries = acting(head, 5)
    assert head._act._cache_size() == 1  # compiled once, not again for the carry it gave
    positions = [list(carry.position) for carry in carries]
    assert positions == [[0, 0], [1, 1], [0, 0], [1, 1], [0, 0]]
    for step, carry in enumerate(carries):
        wanted = head.in_environment_scale(carry.chunk)[:, step % 2]
        np.testing.assert_allclose(actions[step], wanted, rtol=1e-6)
    assert (carries[0].chunk == carries[1].chunk).all()
    assert not (carries[1].chunk == carries[2].chunk).all()
    assert np.isnan(carries[1].gap).all() and np.isfinite(carries[2].gap).all()


def test_an_episode_that_begins_forgets_one_robots_past_alone():
    head = ready()
    _, carries = acting(head, 4, firsts={(1, 0)})
    assert [list(carry.position) for carry in carries] == [[0, 0], [0, 1], [1, 0], [0, 1]]
    np.testing.assert_array_equal(carries[1].chunk[1], carries[0].chunk[1])
    seen = [percept(B, step).feature for step in range(2)]
    np.testing.assert_array_equal(carries[1].history[0], [seen[1][0]] * 2)
    np.testing.assert_array_equal(carries[1].history[1], [seen[0][1], seen[1][1]])
    assert np.isnan(carries[1].gap[0])


@pytest.mark.parametrize("choice", ["proxy", "smoothness", "medoid", "first"])
def test_the_chunk_that_is_taken_has_the_least_score(choice):
    head = ready(choice=choice)
    _, carries = acting(head, 3)
    for step, old in ((0, head.reset(B)), (2, carries[1])):
        new, of_step = carries[step], jax.random.fold_in(key, step)
        candidates = head.network.sample(head._params, head._scales, new.history, of_step)
        first = jnp.full(B, step == 0)
        best = np.argmin(scores(choice, candidates, old.chunk, 2, first), 1)
        wanted = np.asarray(candidates)[np.arange(B), best]
        np.testing.assert_allclose(new.chunk, wanted, atol=1e-5)


def test_the_sensors_can_be_the_context_of_a_head():
    config = dataclasses.replace(TINY, context="sensors", windows=10)
    head = ChunkHead(config, SIZES._replace(modalities=MODALITIES[1:]))  # a ResNet compiles long
    head.fit(demonstrations(), 0)
    actions, _ = acting(head, 2)
    assert np.isfinite(actions).all()


def test_demonstrations_that_cannot_be_learned_from_are_named():
    head = ChunkHead(TINY, SIZES)
    good = demonstrations()
    short = good[1]._replace(action=good[1].action[:1])
    nan = good[1]._replace(action=good[1].action * np.nan)
    wide = good[1]._replace(action=np.zeros((5, A + 1)))
    uneven = good[1]._replace(action=good[1].action[:3])
    for bad, message in (
        ([], "no demonstrations"),
        ([good[0], short], "demonstration 1 has 1 steps, fewer than a chunk's execute 2"),
        ([good[0], nan], "demonstration 1 holds a value that is not finite"),
        ([good[0], wide], r"demonstration 1 has actions \(5, 3\)"),
        ([good[0], uneven], r"demonstration 1 has percepts \(5, 3\) where \(3, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            head.fit(bad, 0)
    with pytest.raises(RuntimeError, match="has not learned yet"):
        acting(head, 1)
    arrays = ready().arrays()
    name = next(iter(arrays))
    with pytest.raises(ValueError, match="has shape"):
        head.restore(arrays | {name: np.zeros(77)})
    with pytest.raises(ValueError, match="unknown among"):
        head.restore(arrays | {"more": np.zeros(1)})


def test_what_is_held_out_is_measured_step_by_step_of_the_chunk():
    config = tiny("mse", predict=4, windows=10, report_every=1)
    head, reports, unseen = ChunkHead(config, SIZES), [], demonstrations(3, 6)[2:]
    head.fit(demonstrations(), 0, lambda update, metrics: reports.append(metrics), unseen)
    steps = [f"held_out/error/{step}" for step in (1, 2, 3, 4)]
    assert all({"loss", "held_out/loss", "held_out/error", *steps} <= set(m) for m in reports)
    (one,) = unseen
    variance = np.concatenate([t.action for t in demonstrations()]).var(0)
    errors = []
    for t in range(6):
        past = one.percept.feature[[max(t - 1, 0), t]][None]
        made = head.network.sample(head._params, head._scales, past, key)[0]
        wanted = one.action[np.minimum(t + np.arange(4), 5)]
        errors.append(np.square(head.in_environment_scale(made)[0] - wanted) / variance)
    found = [reports[-1][name] for name in steps]
    np.testing.assert_allclose(found, np.mean(errors, (0, 2)), rtol=1e-3)
    assert reports[-1]["held_out/error"] == pytest.approx(np.mean(found))


def test_a_diverging_loss_ends_training_with_its_name():
    head = ChunkHead(tiny("mse", learning_rate=1e38, windows=30, warmup=0), SIZES)
    with pytest.raises(FloatingPointError, match="the loss of mse is nan before update"):
        head.fit(demonstrations(), 0)


@pytest.mark.parametrize(
    ("objective", "changes", "message"),
    [
        ("mse", {"execute": 5}, "execute 5 must be at most predict 4"),
        ("imle", {"choice": "smoothness", "execute": 4}, "below predict 4"),
        ("mse", {"backbone": "unet", "predict": 3}, "predict 3 must be a multiple of 2"),
        ("mse", {"backbone": "unet", "unet_widths": (12,)}, "must be multiples of 8"),
        ("mse", {"width": 6}, "width 6 must be a multiple of twice the heads, 4"),
        ("mse", {"batch": 0}, "batch 0 must be at least 1"),
        ("mse", {"batch": 30}, "batch 30 must be at most windows 20"),
        ("diffusion", {"steps": 200}, "steps 200 must be at most noise_steps 100"),
        ("mirror", {"samples": 2}, "soft_candidates 3 must be at most samples 2"),
        ("mirror", {"quantile": 1.0}, "quantile 1.0 must be between 0 and 1"),
        ("mirror", {"least_threshold": 9.0}, "least_threshold 9.0 must be above 0 and at most"),
        ("beso", {"least_std": 99.0}, "least_std 99.0 must be above 0 and below most_std 80.0"),
        ("beso", {"spread": 0.0}, "spread 0.0 must be above 0"),
        ("mse", {"drop": 1.0}, "drop 1.0 must be at least 0 and below 1"),
        ("mse", {"shift": -0.1}, "shift -0.1 must be at least 0 and below 1"),
        ("mse", {"align_temperature": 0.0}, "align_temperature 0.0 must be above 0"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(objective, changes, message):
    with pytest.raises(ValueError, match=message):
        tiny(objective, **changes)


@pytest.mark.parametrize(
    ("objective", "setting"),
    [
        *(("mse", name) for name in ("candidates", "choice", "samples", "steps")),
        *(("imle", name) for name in ("quantile", "soft_weight", "steps")),
        *(("mirror", name) for name in ("radius", "steps", "prediction")),
        *(("diffusion", name) for name in ("samples", "radius", "data_std")),
        *(("flow", name) for name in ("noise_steps", "samples")),
        *(("beso", name) for name in ("noise_steps", "prediction")),
    ],
)
def test_what_an_objective_does_not_read_is_none_of_its_settings(objective, setting):
    with pytest.raises(TypeError, match=f"'{setting}'"):
        CONFIGS[objective](**{setting: 1})


def test_every_size_of_a_preset_is_a_setting_of_an_objective_and_reaches_it():
    own = {name: {f.name for f in dataclasses.fields(config)} for name, config in CONFIGS.items()}
    for preset, sizes in CHUNKS.items():
        assert set(sizes) <= set().union(*own.values())
        for name in CONFIGS:
            made = HEADS[name].default(preset)
            assert all(getattr(made, key) == sizes[key] for key in set(sizes) & own[name])
