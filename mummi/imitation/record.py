"""What an imitation run was started with, beside its ``Config``, and what it learned from."""

import dataclasses
import pathlib
from collections.abc import Iterable

import numpy as np
import yaml

from mummi.data.episode import load_episode, save_episode
from mummi.imitation.demonstrations import INSTRUCTION, Demonstration, Reading
from mummi.imitation.heads.head import HEADS
from mummi.runs.files import atomic
from mummi.runs.record import from_dict, to_dict

FILE = "imitation.yaml"
SPLIT = "split.yaml"
LEARNED = "learned.json"
"""How much training saw, and its last metrics."""
HELD_OUT = "held_out.json"
"""Errors on the demonstrations that are held out."""
INSTRUCTIONS = "instructions.npz"
"""Sentences that were learned from, and their vectors."""


@dataclasses.dataclass(frozen=True)
class Imitation:
    """An action head on the latents of a world model, both learned from demonstrations.

    A head with encoders of its own (``--head.context``) needs no world model, and none is trained.

    Attributes:
        data: file or folder of demonstrations, of any format that experiments.inspect tells.
        head: action head to train.
        world_model: folder of a run whose world model is taken and frozen, of experiments.imitate
            or experiments.train, with the same sensors; by default one is trained here.
        updates: updates of the world model.
        copies: views of each demonstration that world model and head learn from: one as it was
            recorded, the others with sensors failing as --missing says.
        settings: settings of the head.
        reading: how the data are read.
        held_out: the demonstrations that nothing learns from, on which losses and errors are
            measured: a share of all of them, at least one and alike of each instruction, drawn by
            the seed, or the name of a mask of the file such as valid. 0.1 by default, or what
            --world-model has held out of the same data; with --task 0 holds out none.
        two_valued: numbers of the actions, from 0, that take one of two values, as the command of a
            gripper does, and are decided for one when acting; by default those that have no other
            in the data. With nothing after it there are none.
        hysteresis: a two-valued action changes where what the head gives is beyond the middle of
            its values by more than this share of the way to the other, or where, read as
            probabilities of the other, it adds up to 1 since it was as near to the value that is
            held (``Decisions``); 0 takes the nearer one.
    """

    data: str
    head: str = "bc"
    world_model: str = ""
    updates: int = 5_000
    copies: int = 4
    settings: object = None
    reading: Reading = dataclasses.field(default_factory=Reading)
    held_out: float | str | None = None
    two_valued: tuple[int, ...] | None = None
    hysteresis: float = 0.6

    @property
    def reads_latents(self) -> bool:
        """Whether the head reads the latents of a world model."""
        return getattr(self.settings, "reads_latents", True)

    def __post_init__(self):
        if self.updates < 1 or self.copies < 1:
            raise ValueError(
                f"--updates {self.updates} and --copies {self.copies} must be at least 1"
            )
        if not 0 <= self.hysteresis < 1:
            raise ValueError(f"--hysteresis {self.hysteresis} must be at least 0 and below 1")
        if isinstance(self.held_out, float) and not 0 <= self.held_out < 1:
            raise ValueError(
                f"--held-out is {self.held_out}; a share is at least 0 and below 1, and a mask of "
                "the file is named"
            )


@dataclasses.dataclass(frozen=True)
class Split:
    """Which demonstrations a run has learned from.

    Attributes:
        trained: names of those that world model and head learned from.
        held_out: of those that nothing learned from.
        mean: of each action of the former, in the units of the data.
        std: its standard deviation, 0 of one that never varies.
        rate: steps a second of the data; None where they do not tell.
        two_valued: by the number of each two-valued action its values, in the units of the data.
    """

    trained: tuple[str, ...]
    held_out: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    rate: float | None = None
    two_valued: dict[int, tuple[float, ...]] = dataclasses.field(default_factory=dict)


def save_split(logdir, split: Split) -> None:
    """Writes ``split.yaml``, whole or not at all.

    Raises:
        ValueError: the run has begun to learn from other demonstrations.
    """
    path = pathlib.Path(logdir) / SPLIT
    if path.is_file() and load_split(logdir) != split:
        raise ValueError(
            f"the data have other demonstrations than when {str(logdir)!r} was started ({path} "
            "lists them); give another --logdir"
        )
    with atomic(path) as temporary:
        temporary.write_text(yaml.safe_dump(to_dict(split), sort_keys=False))


def load_split(logdir) -> Split:
    """Reads ``split.yaml``.

    Raises:
        FileNotFoundError: the run has none.
        ValueError: the file is damaged.
    """
    path = pathlib.Path(logdir) / SPLIT
    try:
        return from_dict(Split, yaml.safe_load(path.read_text()))
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path} is damaged or from another version: {error}") from error


def save_instructions(logdir, demonstrations: Iterable[Demonstration]) -> None:
    """Writes the sentences of demonstrations that have their vectors as a sensor."""
    known = {
        one.attributes[INSTRUCTION]: one.values[INSTRUCTION][0]
        for one in demonstrations
        if INSTRUCTION in one.values and one.attributes.get(INSTRUCTION)
    }
    if known:
        arrays = {"sentences": np.array(list(known)), "vectors": np.stack(list(known.values()))}
        save_episode(pathlib.Path(logdir) / INSTRUCTIONS, arrays)


def load_instructions(logdir) -> dict[str, np.ndarray]:
    """Vectors [E] by sentence, of those that a run has learned from; empty if it has none.

    Raises:
        ValueError: the file is damaged.
    """
    path = pathlib.Path(logdir) / INSTRUCTIONS
    if not path.is_file():
        return {}
    try:
        found = load_episode(path)
        return dict(zip(found["sentences"].tolist(), found["vectors"], strict=True))
    except Exception as error:
        raise ValueError(
            f"{path} is damaged ({error}); remove it, and instructions are given as vectors"
        ) from error


def is_imitation(logdir) -> bool:
    """Whether the folder is that of an imitation run."""
    return (pathlib.Path(logdir) / FILE).is_file()


def save(logdir, imitation: Imitation) -> None:
    """Writes ``imitation.yaml``, whole or not at all."""
    with atomic(pathlib.Path(logdir) / FILE) as temporary:
        temporary.write_text(yaml.safe_dump(to_dict(imitation), sort_keys=False))


def load(logdir) -> Imitation:
    """Reads ``imitation.yaml``.

    Raises:
        FileNotFoundError: the folder is no imitation run.
        ValueError: the file is damaged or of another version.
    """
    path = pathlib.Path(logdir) / FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{str(logdir)!r} is no imitation run: it has no {FILE}; give the --logdir of "
            "experiments.imitate"
        )
    try:
        content = yaml.safe_load(path.read_text())
        kind = type(HEADS[content["head"]].default())
        content["settings"] = from_dict(kind, content["settings"], "settings.")
        return from_dict(Imitation, content)
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged or from another version: {error}") from error
