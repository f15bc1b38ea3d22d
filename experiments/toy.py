"""Reconstruction against MuMMI in a two-dimensional world: python -m experiments.toy.

Trains the same multi-modal state-space model by reconstruction (``mssm_e``) and by the MuMMI
objective on the same gathered data, and shows each sensor's latent space and what its expert
says (MuMMI, Fig. 1, 19 and 20).
"""

import dataclasses
import json
import pathlib
import time
from typing import Literal, NamedTuple

import jax
import matplotlib
import numpy as np
import optax
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

import envs
from experiments.command_line import explain
from experiments.evaluation import probe
from mummi.agent import nest
from mummi.config import ModelConfig, check_seed
from mummi.data.episode import EpisodeWriter
from mummi.modality import Modality
from mummi.model.world_model import WorldModel
from mummi.presets import preset

matplotlib.use("Agg")
import matplotlib.pyplot as plt

Scene = Literal["laser_camera", "front_rear", "x_y"]
WithExperts = Literal["mssm_e", "mummi", "mummi_b"]
AXES = ("x", "y")
IMAGE_SIZE = 32
BATCH, LENGTH = 24, 12
"""Sequences of a batch and their steps."""
CLOUD = 1500
"""Steps that overlap is measured on and pictures show."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Each sensor's latent space in a 2-D world, by reconstruction and by MuMMI.

    Attributes:
        scenes: laser_camera (Fig. 1), front_rear (Fig. 19), x_y (Fig. 20).
        methods: what trains the world model.
        drops: probabilities that training hides a random segment of a sensor's sequence; every
            method is trained with each.
        updates: of each world model.
        episodes: of 100 steps, gathered for training; a quarter as many more are held out.
        seed: of everything.
        out: folder of the pictures and of numbers.json.
    """

    scenes: tuple[Scene, ...] = ("laser_camera", "front_rear", "x_y")
    methods: tuple[WithExperts, ...] = ("mssm_e", "mummi")
    drops: tuple[float, ...] = (0.0, 0.5)
    updates: int = 1500
    episodes: int = 100
    seed: int = 0
    out: str = "runs/toy"


class Recording(NamedTuple):
    """Episodes [N, L, ...] as ``WorldModel.loss`` takes them, and the true position [N, L, 2]."""

    batch: dict
    position: np.ndarray
    modalities: tuple[Modality, ...]


class Experts(NamedTuple):
    """What the experts say at N steps: means and stds [N, E] by sensor; the episode [N]."""

    means: dict[str, np.ndarray]
    stds: dict[str, np.ndarray]
    position: np.ndarray
    episode: np.ndarray


def gather(task: str, episodes: int, seed: tuple[int, ...]) -> Recording:
    """Records episodes of smooth random actions (autoregressive, correlation 0.9)."""
    environment = envs.make(task, seed=seed, image_size=IMAGE_SIZE)
    random = np.random.default_rng(seed)
    writer = EpisodeWriter(environment.modalities, environment.action_size)
    recorded, positions = [], []
    for _ in range(episodes):
        action, step = np.zeros(environment.action_size), environment.reset()
        while True:
            flags = (step.is_first, step.is_last, step.is_terminal)
            writer.append(step.values, step.available, action, np.float32(step.reward), *flags)
            positions.append(environment.truth()["position"])
            if step.is_last:
                break
            action = np.clip(0.9 * action + random.normal(0, 0.3, action.shape), -1, 1)
            step = environment.step(action)
        recorded.append(writer.finish())
    arrays = {key: np.stack([episode[key] for episode in recorded]) for key in recorded[0]}
    positions = np.reshape(positions, (episodes, -1, 2))
    return Recording(nest(arrays), positions, environment.modalities)


def model_config(drop: float) -> ModelConfig:
    """The laptop preset, smaller, with a sampled s^f of few dimensions and no p(s^f | s^c).

    InfoNCE does not see a constant distance between two sensors' experts along directions in
    which the experts do not vary: it cancels in the softmax. Few dimensions leave few such
    directions, which brings the two latent spaces closer. The KL to p(s^f | s^c) is left out
    because it collapsed s^f, under either objective, in trials with dropped sensors.
    """
    return dataclasses.replace(
        preset("laptop", "walker_stand").model,
        fused=4,
        stoch=8,
        deter=64,
        hidden=64,
        reward_units=64,
        reward_scale=1.0,
        drop=drop,
        sample_fused=True,
        posterior_sees_std=False,
    )


def train(
    model: WorldModel, recording: Recording, updates: int, seed: int, label: str
) -> tuple[dict, dict[str, float]]:
    """Trains on windows drawn from the recording; returns parameters and the last metrics."""
    optimiser = optax.chain(
        optax.clip_by_global_norm(model.config.clip), optax.adam(model.config.learning_rate)
    )
    key = jax.random.PRNGKey(seed)
    random = np.random.default_rng(seed)
    episodes, steps = recording.position.shape[:2]

    @jax.jit
    def update(params, state, batch, count):
        gradient, (_, metrics) = jax.grad(model.loss, has_aux=True)(
            params, batch, jax.random.fold_in(key, count)
        )
        change, state = optimiser.update(gradient, state)
        return optax.apply_updates(params, change), state, metrics

    params = jax.jit(model.init)(key)
    state, metrics = optimiser.init(params), {}
    for count in track(range(updates), label):
        rows = random.integers(episodes, size=(BATCH, 1))
        columns = random.integers(steps - LENGTH + 1, size=(BATCH, 1)) + np.arange(LENGTH)
        batch = jax.tree.map(lambda x, index=(rows, columns): x[index], recording.batch)
        params, state, metrics = update(params, state, batch, count)
    metrics = {name: float(value) for name, value in metrics.items()}
    check_finite(metrics, label)
    return params, metrics


def check_finite(metrics: dict[str, float], label: str) -> None:
    """Raises FloatingPointError, by the name of the metric, where training diverged."""
    broken = [name for name, value in metrics.items() if not np.isfinite(value)]
    if broken:
        raise FloatingPointError(f"{broken[0]} is not finite at the end of {label}")


def perceive(model: WorldModel, params: dict, recording: Recording) -> Experts:
    """The experts at every step of the recording."""
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), recording.batch)
    belief = jax.jit(model.perceive)(
        params, flat["values"], flat["available"], jax.random.PRNGKey(0)
    )
    names = [m.name for m in recording.modalities]
    episodes, steps = recording.position.shape[:2]
    return Experts(
        dict(zip(names, np.asarray(belief.means), strict=True)),
        dict(zip(names, np.asarray(belief.stds), strict=True)),
        recording.position.reshape(-1, 2),
        np.repeat(np.arange(episodes), steps),
    )


def thinned(experts: Experts) -> np.ndarray:
    """Indices of at most ``CLOUD`` steps, evenly spread."""
    count = len(experts.position)
    return np.unique(np.linspace(0, count - 1, min(CLOUD, count)).astype(int))


def numbers(experts: Experts) -> dict:
    """R² across sensors (over both axes, and by axis), overlap, calibration, precision."""
    fit = experts.episode % 2 == 0
    truths = {"both": experts.position}
    truths |= {axis: experts.position[:, [i]] for i, axis in enumerate(AXES)}
    r2 = {
        target: {
            f"{fitted}->{decoded}": value
            for (fitted, decoded), value in probe.cross_decoding(experts.means, truth, fit).items()
        }
        for target, truth in truths.items()
    }
    index = thinned(experts)
    ((_, agreement),) = probe.calibration(experts.means, experts.stds).items()
    return {
        "r2": r2,
        "overlap": probe.overlap(*(mean[index] for mean in experts.means.values())),
        "calibration": agreement._asdict(),
        "std": {name: float(std.mean()) for name, std in experts.stds.items()},
        "precision_share": probe.precision_shares(experts.stds),
    }


def colours(position: np.ndarray) -> np.ndarray:
    """RGB in [0, 1] of positions [..., 2]: blended from one colour at each corner of the arena."""
    x, y = np.clip((position[..., 0] + 1) / 2, 0, 1), np.clip((position[..., 1] + 1) / 2, 0, 1)
    corners = np.array([[[0.1, 0.2, 0.9], [0.0, 0.8, 0.8]], [[0.9, 0.1, 0.4], [1.0, 0.85, 0.1]]])
    weight_x, weight_y = np.stack([1 - x, x], -1), np.stack([1 - y, y], -1)
    return np.einsum("...i,...j,ijc->...c", weight_x, weight_y, corners)


def principal_plane(clouds: np.ndarray) -> np.ndarray:
    """Clouds [M, N, E] on their two common principal components, [M, N, 2]."""
    centred = clouds - clouds.mean((0, 1))
    _, _, directions = np.linalg.svd(centred.reshape(-1, clouds.shape[-1]), full_matrices=False)
    return centred @ directions[:2].T


def draw(scene: str, results: dict[str, tuple[Experts, dict]], path: pathlib.Path) -> None:
    """Writes a picture: a row for each trained model, a column for each sensor.

    Args:
        scene: for the title.
        results: experts and their ``numbers`` by the name of the model.
        path: PNG to write.
    """
    figure, grid = plt.subplots(
        len(results), 4, figsize=(13, 3.1 * len(results)), dpi=110, squeeze=False,
        width_ratios=(1, 1, 1, 0.8),
    )  # fmt: skip
    for axes, (label, (experts, result)) in zip(grid, results.items(), strict=True):
        index = thinned(experts)
        plane = principal_plane(np.stack([mean[index] for mean in experts.means.values()]))
        colour = colours(experts.position[index])
        shares = result["precision_share"]
        bins = np.geomspace(*std_range(experts), 60)
        for i, name in enumerate(experts.means):
            axes[i].scatter(*plane[1 - i].T, s=3, color="0.85")
            axes[i].scatter(*plane[i].T, s=5, c=colour)
            axes[i].set(title=f"{label}: {name}", xticks=[], yticks=[])
            axes[i].set(xlim=limits(plane[..., 0]), ylim=limits(plane[..., 1]))
            text = f"{name}: {shares[name]:.0%} of the precision"
            axes[2].hist(experts.stds[name].ravel(), bins, alpha=0.6, label=text)
        axes[2].set(title="expert standard deviations", xscale="log", yticks=[])
        axes[2].set_xticks(bins[[0, -1]], [f"{value:.2f}" for value in bins[[0, -1]]])
        axes[2].minorticks_off()
        axes[2].legend(fontsize=7)
        r2 = "\n".join(f"{pair} {value:.2f}" for pair, value in result["r2"]["both"].items())
        calibration = result["calibration"]
        lines = (
            f"R² of the position, map of -> latents of\n{r2}\noverlap {result['overlap']:.2f}\n"
            f"difference / predicted {calibration['z']:.2f}\nrank {calibration['rank']:.2f}"
        )
        axes[3].axis("off")
        axes[3].text(0, 1, lines, va="top", fontsize=9, transform=axes[3].transAxes)
    legend = grid[0, 3].inset_axes((0.62, 0.0, 0.38, 0.38))
    x, y = np.meshgrid(np.linspace(-1, 1, 40), np.linspace(-1, 1, 40))
    legend.imshow(colours(np.stack([x, y], -1)), origin="lower", extent=(-1, 1, -1, 1))
    legend.set(xlabel="x", ylabel="y", xticks=[], yticks=[], title="arena")
    figure.suptitle(f"{scene}: expert means on their common principal components")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def limits(values: np.ndarray) -> tuple[float, float]:
    """Range of an axis that shows all values with a margin."""
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) + 1e-6
    return low - margin, high + margin


def std_range(experts: Experts) -> tuple[float, float]:
    """Smallest and largest standard deviation of all experts, never equal."""
    values = np.concatenate([std.ravel() for std in experts.stds.values()])
    return 0.99 * float(values.min()), 1.01 * float(values.max())


def table(scene: str, results: dict[str, dict]) -> Table:
    """The numbers of one scene, a column for each trained model; R² as mean (x, y)."""
    shown = Table("", *results, title=scene)
    columns = list(results.values())
    for pair in columns[0]["r2"]["both"]:
        values = [[found["r2"][target][pair] for target in ("both", *AXES)] for found in columns]
        shown.add_row(f"R² {pair}", *("{:.2f} ({:.2f}, {:.2f})".format(*v) for v in values))
    rows = {
        "overlap": [found["overlap"] for found in columns],
        "difference / predicted": [found["calibration"]["z"] for found in columns],
        "rank correlation": [found["calibration"]["rank"] for found in columns],
    }
    for name in columns[0]["std"]:
        rows[f"std {name}"] = [found["std"][name] for found in columns]
        rows[f"precision {name}"] = [found["precision_share"][name] for found in columns]
    for name, values in rows.items():
        shown.add_row(name, *(f"{value:.2f}" for value in values))
    return shown


def run(arguments: Arguments) -> dict[str, dict[str, dict]]:
    """Gathers, trains, draws and writes; returns the numbers by scene and model.

    Raises:
        FloatingPointError: training diverged.
    """
    check_seed(seed := arguments.seed)
    out, written = pathlib.Path(arguments.out), {}
    out.mkdir(parents=True, exist_ok=True)
    for scene in arguments.scenes:
        recording = gather(f"toy_{scene}", arguments.episodes, (seed, 0))
        held_out = gather(f"toy_{scene}", max(4, arguments.episodes // 4), (seed, 1))
        results = {}
        for drop in arguments.drops:
            for method in arguments.methods:
                label = method + (f", drop {drop:g}" if drop else "")
                model = WorldModel(model_config(drop), recording.modalities, 2, method)
                began = time.monotonic()
                params, metrics = train(
                    model, recording, arguments.updates, seed, f"{scene} {label}"
                )
                experts = perceive(model, params, held_out)
                found = numbers(experts) | {"training": metrics}
                results[label] = experts, found | {"seconds": time.monotonic() - began}
        draw(scene, results, out / f"{scene}.png")
        written[scene] = {label: found for label, (_, found) in results.items()}
        Console().print(table(scene, written[scene]))
    record = {"arguments": dataclasses.asdict(arguments), "scenes": written}
    (out / "numbers.json").write_text(json.dumps(record, indent=2))
    return written


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line, trains and shows."""
    with explain():
        parsed = tyro.cli(Arguments, prog="python -m experiments.toy", args=arguments)
        run(parsed)
        print(f"pictures and numbers: {parsed.out}")


if __name__ == "__main__":
    main()
