"""How well the sensors' experts agree: decoding across sensors, overlap, calibration.

Pure NumPy functions of what ``WorldModel.perceive`` says at N steps at which every sensor
delivered: expert means and standard deviations [N, E] by sensor, and the truth [N, D].
"""

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

Pair = tuple[str, str]
ByName = Mapping[str, np.ndarray]


class Ridge(NamedTuple):
    """A linear map [N, E] -> [N, D] of standardised inputs; ``fit_ridge`` makes it."""

    centre: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    intercept: np.ndarray

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        return (inputs - self.centre) / self.scale @ self.weights + self.intercept


def fit_ridge(inputs: np.ndarray, targets: np.ndarray, penalty: float = 1e-3) -> Ridge:
    """Ridge regression with standardised inputs and a free intercept.

    Minimises the mean squared error plus ``penalty`` times the squared weights of the
    standardised inputs. An input that never varies gets the weight 0.

    Args:
        inputs: [N, E].
        targets: [N, D].
        penalty: 0 or more; 0 is ordinary least squares.
    """
    inputs, targets = np.asarray(inputs, float), np.asarray(targets, float)
    centre, scale = inputs.mean(0), inputs.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    x = (inputs - centre) / scale
    intercept = targets.mean(0)
    # As least squares with rows for the penalty, which is sound for inputs that are collinear.
    rows = np.sqrt(penalty * len(x)) * np.eye(x.shape[1])
    y = np.concatenate([targets - intercept, np.zeros((x.shape[1], targets.shape[1]))])
    weights = np.linalg.lstsq(np.concatenate([x, rows]), y)[0]
    return Ridge(centre, scale, weights, intercept)


def r_squared(prediction: np.ndarray, truth: np.ndarray) -> float:
    """1 - SSE/SST of [N, D], averaged over the D targets; 1 is perfect, below 0 is worse than
    the targets' means.

    Targets that do not vary in these N steps are left out.

    Raises:
        ValueError: no target varies.
    """
    truth = np.asarray(truth, float)
    total = np.square(truth - truth.mean(0)).sum(0)
    varies = np.ptp(truth, axis=0) > 0
    if not varies.any():
        raise ValueError(f"none of the {truth.shape[1]} targets varies in {len(truth)} steps")
    error = np.square(truth - prediction).sum(0)
    return float(np.mean(1 - error[varies] / total[varies]))


def cross_decoding(
    latents: ByName, truth: np.ndarray, fit: np.ndarray, penalty: float = 1e-3
) -> dict[Pair, float]:
    """R² of the truth decoded from each sensor's latents by a linear map of each sensor.

    Args:
        latents: expert means [N, E] by sensor.
        truth: [N, D].
        fit: bool [N], the steps that the maps are fitted on; the R² is that of all others.
        penalty: of ``fit_ridge``.

    Returns:
        By (sensor that the map was fitted on, sensor whose latents it decodes); where these
        differ, a high R² says that the two share a latent space.
    """
    fit = np.asarray(fit, bool)
    maps = {name: fit_ridge(x[fit], truth[fit], penalty) for name, x in latents.items()}
    return {
        (fitted, decoded): r_squared(maps[fitted](latents[decoded][~fit]), truth[~fit])
        for fitted, decoded in itertools.product(latents, repeat=2)
    }


def overlap(first: np.ndarray, second: np.ndarray, share: float = 0.05) -> float:
    """How mixed two clouds are: of the nearest neighbours, how many are from the other cloud.

    Row n of both belongs to the same step, and a step is no neighbour of itself in either cloud,
    so that chance is exactly one half. Neighbours are the nearest ``share`` of all steps, so the
    measure does not depend on N: it asks whether the clouds differ by less than the size of such
    a neighbourhood.

    Args:
        first: [N, E].
        second: [N, E]. Memory grows with N².
        share: size of a neighbourhood, in (0, 0.5].

    Returns:
        Twice the fraction from the other cloud, at most 1: 1 for identical clouds, 0 for clouds
        that lie apart.

    Raises:
        ValueError: fewer than 3 steps, or a share out of range.
    """
    count = len(first)
    if count < 3 or not 0 < share <= 0.5:
        raise ValueError(f"share is {share} of {count} steps; it needs (0, 0.5] and 3 steps")
    neighbours = 2 * max(1, int(share * count))
    points = np.concatenate([first, second]).astype(float)
    points -= points.mean(0)
    square = np.square(points).sum(1)
    distance = square[:, None] + square - 2 * points @ points.T
    step = np.arange(2 * count) % count
    distance[step[:, None] == step] = np.inf
    nearest = np.argpartition(distance, neighbours, 1)[:, :neighbours]
    cloud = np.arange(2 * count) < count
    others = (cloud[nearest] != cloud[:, None]).mean()
    return float(min(1.0, 2 * others))


class Calibration(NamedTuple):
    """Do two experts differ as much as they say?

    Attributes:
        z: root mean square of (difference of means) / (standard deviation of that difference);
            1 is calibrated, more is overconfident.
        rank: Spearman correlation of predicted standard deviation and size of the difference;
            0 where either never varies.
    """

    z: float
    rank: float


def calibration(means: ByName, stds: ByName) -> dict[Pair, Calibration]:
    """Each pair of experts held against each other, over all steps and dimensions.

    There is no true s^f; but two independent, unbiased, calibrated experts of the same s^f differ
    by a Gaussian of variance std_a² + std_b², which is what this compares with.

    Args:
        means: expert means [N, E] by sensor.
        stds: expert standard deviations [N, E] by sensor.

    Returns:
        By unordered pair, in the order of ``means``.
    """
    from scipy.stats import spearmanr  # its import takes longer than all that uses it

    result = {}
    for a, b in itertools.combinations(means, 2):
        difference = np.ravel(np.asarray(means[a], float) - means[b])
        std = np.ravel(np.hypot(np.asarray(stds[a], float), stds[b]))
        size = np.abs(difference)
        varies = np.ptp(size) > 0 and np.ptp(std) > 0
        rank = float(spearmanr(std, size).statistic) if varies else 0.0
        result[a, b] = Calibration(float(np.sqrt(np.mean((difference / std) ** 2))), rank)
    return result


def precision_shares(stds: ByName) -> dict[str, float]:
    """Each expert's share of the experts' summed precision, mean over steps and dimensions.

    It is the expert's weight in a product of experts, the prior left aside; the sum is 1.
    """
    precision = {name: np.asarray(std, float) ** -2.0 for name, std in stds.items()}
    total = sum(precision.values())
    return {name: float(np.mean(p / total)) for name, p in precision.items()}
