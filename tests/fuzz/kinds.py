"""What is damaged: for each kind how a right one is made, what reads it, and what may happen to it.

Where ``silent`` is said of a damage, a reading that differs is no failure, as nothing can tell the
input from another right one: raw numbers and pictures have no checksums, a changed digit of a
setting is another setting, a log may end anywhere, and what may be missing may also be removed.
"""

import contextlib
import io
import itertools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from envs.failures.script import load_script
from envs.natural_mujoco.backgrounds import make_background
from experiments.evaluation.conditions import Condition
from experiments.evaluation.saved import Files
from experiments.report.scores import find
from experiments.serving.conversation import Conversation, observation
from experiments.serving.messages import pack, unpack
from experiments.sweep import Arguments, grid
from experiments.sweeping import file as sweep_file
from mummi.data.episode import save_episode
from mummi.data.replay import Replay
from mummi.imitation import record as imitation
from mummi.imitation import scaling
from mummi.imitation.demonstrations import (
    Demonstration,
    DemonstrationWriter,
    LeRobotWriter,
    open_data,
)
from mummi.imitation.pilot import HEAD, head_arrays
from mummi.modality import Modality
from mummi.model.trust import Thresholds
from mummi.runs import record, thresholds
from mummi.runs.checkpoint import Checkpointer
from mummi.runs.logger import Logger, read_metrics
from tests.fuzz import damage
from tests.fuzz.damage import Damage
from tests.support import demonstration_files, evaluated, layouts, lerobot_files
from tests.support.counting import counting
from tests.support.small import MODALITIES

ENV_ARGS = {"env_name": "dummy", "type": 2, "env_kwargs": {"image_size": 16}}
SENSORS = (
    Modality("rgb", "image", (16, 16, 3)),
    Modality("depth", "depth", (4, 4, 1)),
    Modality("arm", "vector", (2,)),
)


class Kind(NamedTuple):
    """One kind of input.

    Attributes:
        name: of it.
        count: how many are damaged.
        make: writes a right one into a folder and returns the path that is read.
        read: reads it, all of it.
        damages: what may happen to it, in turn.
        silent: those of them that nothing can tell, and names of files of which nothing can.
    """

    name: str
    count: int
    make: Callable[[pathlib.Path], pathlib.Path]
    read: Callable[[pathlib.Path], Any]
    damages: tuple[Damage, ...]
    silent: tuple[Damage | str, ...] = ()


BYTES = (damage.bits, damage.header, damage.truncated, damage.blank, damage.foreign)
HDF5 = (
    *BYTES,
    damage.lost_dataset,
    damage.renamed_dataset,
    damage.short_dataset,
    damage.text_dataset,
    damage.broken_dataset,
)
CHANGED = (damage.bits, damage.header, damage.blank)
OPTIONAL = (damage.lost_dataset, damage.renamed_dataset)


def demonstrations(path: pathlib.Path) -> Any:
    """All that data hold."""
    with open_data(path) as data:
        about = data.modalities, data.action_size, data.names, data.attributes
        return about, [data[index] for index in range(len(data))]


def hdf5(write: Callable) -> Callable[[pathlib.Path], pathlib.Path]:
    """Makes one file."""

    def make(folder):
        write(folder / "data.hdf5")
        return folder / "data.hdf5"

    return make


def written(steps: int = 6) -> list[Demonstration]:
    """Two demonstrations; a sensor is missing now and then in the second."""
    random = np.random.default_rng(0)
    return [
        Demonstration(
            values={
                "rgb": random.integers(0, 256, (steps, 16, 16, 3), np.uint8),
                "depth": random.random((steps, 4, 4, 1), np.float32),
                "arm": random.random((steps, 2), np.float32),
            },
            actions=random.uniform(-1, 1, (steps, 3)).astype(np.float32),
            rewards=random.random(steps, np.float32),
            dones=np.arange(steps) == steps - 1,
            states=random.random((steps, 5)),
            available={"arm": np.arange(steps) % 3 > 0} if number else None,
        )
        for number in range(2)
    ]


def isaaclab(path: pathlib.Path) -> None:
    """A file of IsaacLab in which nothing failed."""
    layouts.isaaclab(path, successes=(True, True))


def jpegs(path: pathlib.Path) -> None:
    """A compressed file of ALOHA."""
    layouts.aloha(path, compressed=True)


def dataset(folder: pathlib.Path) -> pathlib.Path:
    """A LeRobot dataset as others write it."""
    return lerobot_files.dataset(folder / "dataset")


def own(path: pathlib.Path) -> None:
    """A file of ours."""
    with DemonstrationWriter(path, SENSORS, 3, ENV_ARGS) as writer:
        for demonstration in written():
            writer.append(demonstration)


def own_lerobot(folder: pathlib.Path) -> pathlib.Path:
    """A LeRobot dataset of ours."""
    with LeRobotWriter(folder / "dataset", SENSORS, 3, ENV_ARGS) as writer:
        for demonstration in written():
            writer.append(demonstration)
    return folder / "dataset"


def film(suffix: str) -> Callable[[pathlib.Path], pathlib.Path]:
    """Makes a video of two seconds."""

    def make(folder):
        path = folder / f"film{suffix}"
        random = np.random.default_rng(0)
        frames = [random.integers(0, 256, (32, 48, 3), np.uint8) for _ in range(50)]
        lerobot_files.video(path, frames, rate=25)
        return path

    return make


def picture(folder: pathlib.Path) -> pathlib.Path:
    """A still background."""
    path = folder / "still.png"
    random = np.random.default_rng(0)
    path.write_bytes(lerobot_files.png(random.integers(0, 256, (32, 48, 3), np.uint8))["bytes"])
    return path


def background(path: pathlib.Path) -> np.ndarray:
    """Frames of two clips."""
    clips = make_background(str(path), 8, 0, training=True)
    frames = []
    for number in range(2):
        clips.new_clip(number)
        frames += [clips.frame() for _ in range(60)]
    return np.stack(frames)


SCRIPT = """
name: rough_day
rules:
  - {rule: segments, modality: all, rate: 0.375, max_length: 30}
  - {rule: lost, modality: depth, at: 200}
  - {rule: flicker, modality: [rgb, touch], probability: 0.1, start: 5, stop: 70}
  - {rule: delay, modality: touch, steps: 3}
  - {rule: noise, modality: rgb, std: 20}
  - {rule: patch, modality: depth, size: 0.3, moves: true}
"""
SWEEP = """
about: does a shorter horizon do
tasks: [walker_walk]
seeds: [0]
preset: debug
episodes: 3
settings: {steps: 150000, model: {fused: 32}}
variants:
  preset: {}
  shorter: {behavior.horizon: 7}
"""


def text(name: str, content: str) -> Callable[[pathlib.Path], pathlib.Path]:
    """Makes a file of text."""

    def make(folder):
        (folder / name).write_text(content)
        return folder / name

    return make


def sweep(path: pathlib.Path) -> Any:
    """The runs that a description asks for."""
    described = sweep_file.read(str(path))
    asked = Arguments(**{"tasks": ("walker_walk",), **described.grid})
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return grid(asked, (), described.flags)
    except (ValueError, SystemExit) as error:
        # As flags of the command would be, whose only file this is.
        raise ValueError(f"{path}: {error}") from error


def run(folder: pathlib.Path) -> pathlib.Path:
    """A run with its settings and two evaluations."""
    evaluated.make_run(folder / "run")
    for name in ("none", "medium"):
        evaluated.score(folder / "run", [1.0, 2.0, 4.0], name)
    return folder / "run"


def one(name: str, make: Callable) -> Callable[[pathlib.Path], pathlib.Path]:
    """The path of one file of what is made."""
    return lambda folder: make(folder) / name


def scores(path: pathlib.Path) -> Any:
    """What tables see of a run, from one of its evaluations."""
    (found,) = find([str(path.parents[1])])
    return found.scores


def held(path: pathlib.Path) -> Any:
    """What another evaluation of the run finds of its condition."""
    logdir = path.parents[1]
    config = record.load(logdir).config
    names = ("task", "method", "seed", "background")
    common = {name: getattr(config, name) for name in names}
    files = Files(logdir, common | {"evaluation_seed": config.seed, "step": 1000})
    return files.held(Condition(path.stem, path.stem))


def imitated(folder: pathlib.Path) -> pathlib.Path:
    """A run of experiments.imitate without its head."""
    evaluated.make_imitated(folder / "run", "bc")
    limits = scaling.Scaling((-2.0, 0.0), (2.0, 1.0), {"d": scaling.Depth("metres", 0.0, 3.0)})
    scaling.save(folder / "run", limits)
    return folder / "run"


def head(folder: pathlib.Path) -> pathlib.Path:
    """The file of a head."""
    random = np.random.default_rng(0)
    arrays = {f"network/{name}": random.random((6, 4), np.float32) for name in "ab"}
    save_episode(folder / HEAD, arrays)
    return folder / HEAD


def measured(folder: pathlib.Path) -> pathlib.Path:
    """Thresholds of trust."""
    random = np.random.default_rng(0)
    sizes = {"bank": (3, 8, 6), "reach": (3,), "repeats": (3,)}
    sizes |= dict.fromkeys(("past", "present", "past_level", "present_level"), (3, 8))
    arrays = {name: random.random(size, np.float32) for name, size in sizes.items()}
    thresholds.save(folder, 7, MODALITIES, arrays)
    return thresholds.path(folder, 7)


def load_thresholds(path: pathlib.Path) -> Any:
    """Thresholds of trust."""
    return thresholds.load(path.parents[1], 7, MODALITIES, Thresholds)


TREE = {"weights": np.arange(600, dtype=np.float32).reshape(20, 30), "count": np.int32(3)}


def checkpoint(folder: pathlib.Path) -> pathlib.Path:
    """A folder with one checkpoint."""
    Checkpointer(folder / "checkpoints").save(5, TREE, {"step": 5})
    return folder / "checkpoints"


def restored(path: pathlib.Path) -> Any:
    """The newest checkpoint."""
    state, meta = Checkpointer(path).restore(TREE)
    return {name: np.asarray(leaf) for name, leaf in state.items()}, meta


def episodes(folder: pathlib.Path) -> pathlib.Path:
    """A replay of three episodes."""
    random = np.random.default_rng(0)
    replay = Replay(folder / "replay", SENSORS, 3, 1000, 0)
    for number, made in enumerate(itertools.islice(itertools.cycle(written()), 3)):
        order = np.arange(len(made.actions))
        episode = {f"values/{name}": value for name, value in made.values.items()}
        episode |= {f"available/{m.name}": made.availability(m.name) for m in SENSORS}
        episode |= {"action": made.actions, "reward": random.random(len(order), np.float32)}
        flags = {"is_first": 0, "is_last": len(order) - 1, "is_terminal": -1}
        episode |= {name: order == at for name, at in flags.items()}
        replay.add(episode, 10 * (number + 1))
    return folder / "replay"


def sampled(path: pathlib.Path) -> Any:
    """What training would draw."""
    replay = Replay(path, SENSORS, 3, 1000, 0)
    return len(replay), replay.sample(4, 6)


def read(path: pathlib.Path) -> Any:
    """The metrics of a run."""
    return read_metrics(path.parent)


def settings(path: pathlib.Path) -> record.Run:
    """What a run was started with."""
    return record.load(path.parent)


def learned(path: pathlib.Path) -> imitation.Imitation:
    """What an imitation run was started with."""
    return imitation.load(path.parent)


def limits(path: pathlib.Path) -> scaling.Scaling:
    """How a run scales."""
    return scaling.load(path.parent)


def metrics(folder: pathlib.Path) -> pathlib.Path:
    """Twenty lines of metrics."""
    with Logger(folder / "run") as logger:
        for step in range(20):
            logger.scalars(step, {"loss": step / 3, "episode/return": 2.0 * step})
    return folder / "run" / "metrics.jsonl"


def message(folder: pathlib.Path) -> pathlib.Path:
    """An observation as a robot sends it."""
    random = np.random.default_rng(0)
    values = {m.name: random.random(m.shape).astype(m.dtype) for m in MODALITIES}
    (folder / "message").write_bytes(pack(values | {"reset": True}))
    return folder / "message"


def understood(path: pathlib.Path) -> Any:
    """What the server takes from a message, and what it answers."""
    answer = Conversation(counting(), trust=False).answer(path.read_bytes(), 0.0)
    if isinstance(answer, str):
        raise ValueError(f"{path}: {answer}")  # a robot knows what it sent
    told = unpack(answer)
    seen = observation(path.read_bytes(), [m.name for m in MODALITIES])
    return seen, told["actions"], told["taken"]


RAW = (*CHANGED, *OPTIONAL)
TEXT = (damage.yaml_entry, damage.yaml_entry, *BYTES)
DIGITS = (damage.yaml_entry, *CHANGED, damage.truncated)
DIGITS_JSON = (damage.json_entry, *CHANGED)
JSON = (damage.json_entry, damage.json_entry, *BYTES)
PLAYED = (*CHANGED, damage.truncated)  # by less than half a second
ANOTHER = (*CHANGED, damage.json_entry)
DATASET = (*BYTES, damage.absent, damage.json_entry, damage.column, damage.column)

KINDS: tuple[Kind, ...] = (
    Kind("HDF5, own", 12, hdf5(own), demonstrations, HDF5, RAW),
    Kind("HDF5, robomimic", 10, hdf5(demonstration_files.robomimic), demonstrations, HDF5, RAW),
    Kind("HDF5, LIBERO", 10, hdf5(demonstration_files.libero), demonstrations, HDF5, RAW),
    Kind("HDF5, IsaacLab", 10, hdf5(isaaclab), demonstrations, HDF5, RAW),
    Kind("HDF5, Minari", 10, hdf5(layouts.minari), demonstrations, HDF5, RAW),
    Kind("HDF5, ALOHA", 10, hdf5(layouts.aloha), demonstrations, HDF5, RAW),
    Kind("HDF5, ALOHA, JPEG", 10, hdf5(jpegs), demonstrations, HDF5, RAW),
    Kind("LeRobot, own", 20, own_lerobot, demonstrations, DATASET, (*ANOTHER, "mummi.json")),
    Kind("LeRobot, by pyarrow", 20, dataset, demonstrations, DATASET, ANOTHER),
    Kind("video, mp4", 8, film(".mp4"), background, BYTES, CHANGED),
    Kind("video, avi", 6, film(".avi"), background, BYTES, PLAYED),
    Kind("video, mkv", 4, film(".mkv"), background, BYTES, PLAYED),
    Kind("picture", 6, picture, background, BYTES),
    Kind("failure script", 24, text("rough.yaml", SCRIPT), load_script, TEXT, DIGITS),
    Kind("sweep", 16, text("shorter.yaml", SWEEP), sweep, TEXT, DIGITS),
    Kind("config.yaml", 20, one("config.yaml", run), settings, TEXT, DIGITS),
    Kind("imitation.yaml", 14, one(imitation.FILE, imitated), learned, TEXT, DIGITS),
    Kind("scaling.yaml", 14, one(scaling.FILE, imitated), limits, TEXT, DIGITS),
    Kind("thresholds of trust", 10, measured, load_thresholds, BYTES),
    Kind("head", 6, head, head_arrays, BYTES),
    Kind("checkpoint", 12, checkpoint, restored, (*BYTES, damage.absent)),
    Kind("replay", 12, episodes, sampled, (*BYTES, damage.absent), (damage.absent,)),
    Kind("metrics.jsonl", 8, metrics, read, BYTES, (*CHANGED, damage.truncated, "nothing")),
    Kind("eval, by tables", 8, one("eval/medium.json", run), scores, JSON, DIGITS_JSON),
    Kind("eval, by evaluate", 8, one("eval/none.json", run), held, JSON, DIGITS_JSON),
    Kind("message", 12, message, understood, BYTES, CHANGED),
)
