"""Hand-made demonstrations as heads see them."""

import jax
import numpy as np

from mummi.imitation.heads.head import Percept, Sizes, Trajectory
from mummi.modality import Modality

SENSORS = {"near": 2, "far": 3}
SIZES = Sizes(tuple(Modality(n, "vector", (k,)) for n, k in SENSORS.items()), 3, SENSORS, 2)
FIRST, ON = np.array([True]), np.array([False])
KEY = jax.random.PRNGKey(0)


def percept(feature=None, embeddings=None, available=None) -> Percept:
    """A percept of as many steps as its features or embeddings have."""
    rows = len(feature if embeddings is None else next(iter(embeddings.values())))
    feature = np.zeros((rows, 3), np.float32) if feature is None else np.float32(feature)
    embeddings = embeddings or {n: np.zeros((rows, k), np.float32) for n, k in SENSORS.items()}
    delivered = {n: np.ones(rows, bool) for n in SENSORS} | (available or {})
    return Percept(feature, embeddings, {}, delivered)


def demonstrations(number: int = 6, steps: int = 5, seed: int = 0) -> list[Trajectory]:
    """Random features and actions; each demonstration's sensors say which one it is."""
    random, rows = np.random.default_rng(seed), []
    for _ in range(number):
        who = {n: random.normal(size=k) for n, k in SENSORS.items()}
        drift = np.linspace(0, 0.1, steps)[:, None]
        embeddings = {n: np.float32(point + drift) for n, point in who.items()}
        action = random.uniform(-1, 1, (steps, 2)).astype(np.float32)
        rows.append(Trajectory(percept(random.normal(size=(steps, 3)), embeddings), action))
    return rows


def fitted(kind, config, trajectories):
    head = kind(config, SIZES)
    head.fit(trajectories, 0)
    return head


def at(trajectory: Trajectory, step: int) -> Percept:
    """What one robot would see there."""
    return jax.tree.map(lambda x: x[step : step + 1], trajectory.percept)


def act_along(head, percepts, first=0):
    """Actions of one robot that sees these percepts from its start on."""
    carry, actions = head.reset(1), []
    for step, now in enumerate(percepts):
        action, carry = head.act(carry, now, FIRST if step == first else ON, KEY)
        actions.append(action[0])
    return np.stack(actions)
