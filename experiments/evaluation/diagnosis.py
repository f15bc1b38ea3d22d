"""What an agent's latents know, how far ahead, and whether its parts can be believed.

A return says that an agent is good or bad; these numbers say where it loses. All are of recorded
episodes, ``Recording.episodes``, that the agent never learned from.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluation import probe
from experiments.evaluation.agreement import PENALTY, fitting_steps
from mummi.agent import Agent
from mummi.model.perception import Belief, Features
from mummi.model.rssm import State

HORIZON = 12
"""Steps that are predicted without a look."""
WINDOWS = 16
"""Windows of an episode that are filtered from nothing, as many as a small batch."""
SPAN = 64
"""Episodes are padded to so many steps, or twice, four times … as many, that few calls compile."""
REMEMBERED = 0.1
"""A recorded return counts where what lies behind the end of the episode is worth less."""


class Followed(NamedTuple):
    """An episode of T steps as the agent follows it.

    Attributes:
        state: posteriors [T, ...].
        said: of the sensors' networks, [M, T, E] and [T, ...].
        reward: predicted for each step, in the model's units [T].
        value: of the critic [T].
        ahead: features [HORIZON, T, F] after so many steps of the recorded actions without a look;
            those that would reach beyond the episode mean nothing.
        reward_ahead: the reward predicted there [HORIZON, T].
    """

    state: State
    said: Belief | Features
    reward: jax.Array
    value: jax.Array
    ahead: jax.Array
    reward_ahead: jax.Array


@functools.partial(jax.jit, static_argnums=0)
def _follow(agent: Agent, params, steps: Mapping[str, Any], key) -> Followed:
    """Follows one episode; ``led`` [T, A] are the actions that led to each step."""
    model, keys = agent.model, jax.random.split(key, 3)
    said = model.perceive(params.model, steps["values"], steps["available"], keys[0])
    evidence, blind = model.perception.evidence(said)
    alone = (evidence, blind, steps["led"], steps["is_first"])
    alone = jax.tree.map(lambda x: x[None], alone)
    _, state = model.rssm.observe(params.model["rssm"], *alone, keys[1])
    state = jax.tree.map(lambda x: x[0], state)
    count = len(steps["action"])
    following = jnp.minimum(jnp.arange(HORIZON)[:, None] + jnp.arange(count), count - 1)
    noise = jax.random.normal(keys[2], (HORIZON, *state.stoch.shape))
    actions = steps["action"][following]
    ahead, _ = agent.behavior.imagine(params.model, lambda _, t: actions[t], state, noise)
    feature = ahead.feature[1:]
    return Followed(
        state=state,
        said=said,
        reward=model.predict_reward(params.model, state.feature),
        value=agent.behavior.value(params.critic, state.feature),
        ahead=feature,
        reward_ahead=model.predict_reward(params.model, feature),
    )


@functools.partial(jax.jit, static_argnums=0)
def _cold(agent: Agent, params, steps: Mapping[str, Any], key) -> jax.Array:
    """Rewards [W, L] predicted in windows that begin with nothing remembered, as in training."""
    model, keys = agent.model, jax.random.split(key)
    said = model.perceive(params.model, steps["values"], steps["available"], keys[0])
    inputs = (*model.perception.evidence(said), steps["led"], steps["is_first"])
    _, state = model.rssm.observe(params.model["rssm"], *inputs, keys[1])
    return model.predict_reward(params.model, state.feature)


class Episode(NamedTuple):
    """A recorded episode and how the agent follows it; see ``Followed`` for the shapes."""

    recorded: Mapping[str, Any]
    followed: Followed
    reward: np.ndarray  # in the model's units [T]
    cold: np.ndarray  # squared errors [W, L] of the reward in windows filtered from nothing
    warm: np.ndarray  # and at the same steps, from the whole past


def follow(agent: Agent, parameters, episodes: Sequence[Mapping], seed: int) -> list[Episode]:
    """Follows recorded episodes.

    Args:
        agent: the agent.
        parameters: an object with its ``model`` and ``critic``.
        episodes: from ``Recording.episodes``.
        seed: of the latent samples and of where windows begin.
    """
    names = [m.name for m in agent.modalities]
    longest = max(len(e["action"]) for e in episodes)
    padded = SPAN
    while padded < longest:
        padded *= 2
    length = agent.config.batch_length
    found = []
    for number, episode in enumerate(episodes):
        action = np.asarray(episode["action"], np.float32)
        count = len(action)
        steps = {
            "values": {name: episode["values"][name] for name in names},
            "available": {name: episode["available"][name] for name in names},
            "action": action,
            "led": np.concatenate([np.zeros_like(action[:1]), action[:-1]]),
            "is_first": np.arange(count) == 0,
        }
        whole = jax.tree.map(functools.partial(_padded, count=padded), steps)
        key = jax.random.fold_in(jax.random.PRNGKey(seed), number)
        followed = jax.device_get(_follow(agent, parameters, whole, key))
        followed = _cut(followed, count)
        model = agent.model
        reward = model.config.reward_scale / model.pace * np.asarray(episode["reward"], float)
        random = np.random.default_rng((seed, number))
        starts = random.integers(1, max(2, count - length), WINDOWS)
        index = np.minimum(starts[:, None] + np.arange(length), count - 1)
        # A window knows the action before it, and nothing else.
        windows = jax.tree.map(lambda x, index=index: x[index], steps)
        predicted = np.asarray(_cold(agent, parameters, windows, key))
        cold, warm = (np.square(x - reward[index]) for x in (predicted, followed.reward[index]))
        found.append(Episode(episode, followed, reward, cold, warm))
    return found


def _padded(rows: np.ndarray, count: int) -> np.ndarray:
    """``count`` rows, zeros beyond the last."""
    return np.pad(rows, ((0, count - len(rows)), *((0, 0),) * (rows.ndim - 1)))


def _cut(followed: Followed, count: int) -> Followed:
    """What is of the first ``count`` steps."""
    said = followed.said
    of_step = {"mean", "std", "sample"}
    cut = {n: x[:count] if n in of_step else x[:, :count] for n, x in said._asdict().items()}
    return Followed(
        state=jax.tree.map(lambda x: x[:count], followed.state),
        said=type(said)(**cut),
        reward=followed.reward[:count],
        value=followed.value[:count],
        ahead=followed.ahead[:, :count],
        reward_ahead=followed.reward_ahead[:, :count],
    )


def open_loop_reward(episodes: Sequence[Episode]) -> list[float]:
    """R² of the reward predicted 1 to ``HORIZON`` steps ahead under the recorded actions."""
    found = []
    for step in range(1, HORIZON + 1):
        actual = [e.reward[step:] for e in episodes]
        predicted = [
            e.followed.reward_ahead[step - 1, : len(rest)]
            for e, rest in zip(episodes, actual, strict=True)
        ]
        found.append(_r_squared(np.concatenate(predicted), np.concatenate(actual)))
    return found


def cold_windows(episodes: Sequence[Episode]) -> dict[str, list[float]]:
    """Squared error of the reward by the step of a training window, in shares of its variance.

    ``cold`` filters from nothing at the window's start, as training does, and ``warm`` from the
    beginning of the episode, as acting does.
    """
    variance = max(np.concatenate([e.reward for e in episodes]).var(), 1e-12)
    return {
        name: (np.concatenate([getattr(e, name) for e in episodes]).mean(0) / variance).tolist()
        for name in ("cold", "warm")
    }


def critic(agent: Agent, episodes: Sequence[Episode]) -> float | None:
    """Correlation of the critic's value and the discounted return that was then recorded.

    None where no episode is long enough for returns, or nothing varies.
    """
    discount, values, returns = agent.behavior.discount, [], []
    for episode in episodes:
        future, outcome = 0.0, np.zeros(len(episode.reward))
        for t in range(len(outcome) - 2, -1, -1):
            future = agent.behavior.duration * episode.reward[t + 1] + discount * future
            outcome[t] = future
        ahead = np.arange(len(outcome))[::-1]
        counts = discount**ahead < REMEMBERED
        values.append(episode.followed.value[counts])
        returns.append(outcome[counts])
    value, outcome = np.concatenate(values), np.concatenate(returns)
    if len(value) < 3 or not np.ptp(value) or not np.ptp(outcome):
        return None
    return float(np.corrcoef(value, outcome)[0, 1])


class Calibrated(NamedTuple):
    """Whether a sensor's expert is as wrong as it says.

    Attributes:
        rank: Spearman correlation of the std that it says and its distance to the others' product.
        scale: root mean square of that distance in units of the std it should have; 1 is
            calibrated, more is overconfident.
    """

    rank: float
    scale: float


def calibration(names: Sequence[str], episodes: Sequence[Episode]) -> dict[str, Calibrated]:
    """Each expert against the product of the others, where both are there; by sensor.

    Two independent Gaussian beliefs in one s^f differ by a Gaussian of both variances. Empty where
    sensors are no experts.
    """
    said = [e.followed.said for e in episodes]
    if not isinstance(said[0], Belief):
        return {}
    from scipy.stats import spearmanr  # its import takes longer than all that uses it

    means, stds, there = (
        np.concatenate([getattr(b, name) for b in said], 1)
        for name in ("means", "stds", "available")
    )
    found = {}
    for row, name in enumerate(names):
        others = np.arange(len(names)) != row
        both = there[row] & there[others].any(0)
        if not both.any():
            continue
        precision = there[others][..., None] / np.square(stds[others])
        total = precision.sum(0)[both]
        product = (precision * means[others]).sum(0)[both] / total
        distance = np.abs(means[row][both] - product)
        std = np.sqrt(np.square(stds[row][both]) + 1 / total)
        own, size = stds[row][both].ravel(), distance.ravel()
        varies = np.ptp(own) > 0 and np.ptp(size) > 0
        rank = float(spearmanr(own, size).statistic) if varies else 0.0
        found[name] = Calibrated(rank, float(np.sqrt(np.square(distance / std).mean())))
    return found


def probes(names: Sequence[str], episodes: Sequence[Episode], seed: int) -> dict[str, Any]:
    """What linear maps read of the physical state; empty where it is not known or hardly moves.

    Returns:
        ``latent``: R² of the state from z. ``sensors``: from what each sensor's network alone says
        of a step. ``parts``: from z, by the state's names. ``ahead``: from z, predicted 1 to
        ``HORIZON`` steps ahead under the recorded actions.
    """
    truth = episodes[0].recorded["truth"]
    if not truth:
        return {}
    states = [np.concatenate(list(e.recorded["truth"].values()), -1) for e in episodes]
    state = np.concatenate(states)
    fit = fitting_steps(len(state), seed)
    if not fit.any() or not _varies(state[~fit]):
        return {}
    z = np.concatenate([e.followed.state.feature for e in episodes])
    read = probe.fit_ridge(z[fit], state[fit], PENALTY)
    decoded, parts, column = read(z), {}, 0
    for name, value in truth.items():
        columns = slice(column, column := column + value.shape[-1])
        if _varies(state[~fit][:, columns]):
            parts[name] = probe.r_squared(decoded[~fit][:, columns], state[~fit][:, columns])
    sensors = {}
    for row, name in enumerate(names):
        there = np.concatenate([e.followed.said.available[row] for e in episodes])
        means = np.concatenate([e.followed.said.means[row] for e in episodes])
        fitted, held = fit & there, ~fit & there
        if fitted.any() and _varies(state[held]):
            own = probe.fit_ridge(means[fitted], state[fitted], PENALTY)
            sensors[name] = probe.r_squared(own(means[held]), state[held])
    held = np.split(~fit, np.cumsum([len(x) for x in states])[:-1])
    ahead = []
    for step in range(1, HORIZON + 1):
        apart = [rows[step:] for rows in held]
        actual = np.concatenate([x[step:][a] for x, a in zip(states, apart, strict=True)])
        guess = np.concatenate(
            [e.followed.ahead[step - 1, : len(a)][a] for e, a in zip(episodes, apart, strict=True)]
        )
        ahead.append(probe.r_squared(read(guess), actual) if _varies(actual) else None)
    latent = probe.r_squared(decoded[~fit], state[~fit])
    return {"latent": latent, "sensors": sensors, "parts": parts, "ahead": ahead}


def _varies(values: np.ndarray) -> bool:
    """Whether any column of [N, D] does; nothing does without rows."""
    return len(values) > 0 and bool(np.ptp(values, axis=0).any())


def _r_squared(predicted: np.ndarray, actual: np.ndarray) -> float | None:
    """1 - SSE/SST; None where nothing varies."""
    if not len(actual) or not np.ptp(actual):
        return None
    return probe.r_squared(predicted[:, None], actual[:, None])


def diagnose(agent: Agent, parameters, episodes: Sequence[Mapping], seed: int) -> dict[str, Any]:
    """All measures of recorded episodes, as plain numbers by name.

    Args:
        agent: the agent.
        parameters: an object with its ``model`` and ``critic``.
        episodes: from ``Recording.episodes``.
        seed: of what is drawn.
    """
    names = [m.name for m in agent.modalities]
    followed = follow(agent, parameters, episodes, seed)
    calibrated = calibration(names, followed)
    return {
        "reward_ahead": open_loop_reward(followed),
        "windows": cold_windows(followed),
        "critic": critic(agent, followed),
        "calibration": {name: found._asdict() for name, found in calibrated.items()},
        "state": probes(names, followed, seed),
    }


def scalars(found: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a diagnosis that are worth a curve, by ``diagnosis/NAME``."""
    values = {f"reward_ahead_{step}": found["reward_ahead"][step - 1] for step in (1, 7)}
    values["critic"] = found["critic"]
    values |= {f"calibration_{n}": x["rank"] for n, x in found["calibration"].items()}
    if found["state"]:
        values["state"] = found["state"]["latent"]
        values["state_ahead_7"] = found["state"]["ahead"][6]
    return {f"diagnosis/{name}": value for name, value in values.items() if value is not None}
