"""What an imitation run was started with, beside its ``Config``: ``imitation.yaml``."""

import dataclasses
import pathlib
from typing import Any

import yaml

from mummi.imitation.demonstrations import Reading
from mummi.imitation.heads.head import HEADS
from mummi.runs.files import atomic
from mummi.runs.record import from_dict, to_dict

FILE = "imitation.yaml"


@dataclasses.dataclass(frozen=True)
class Imitation:
    """An action head on the latents of a world model, both learned from demonstrations.

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
    """

    data: str
    head: str = "bc"
    world_model: str = ""
    updates: int = 5_000
    copies: int = 4
    settings: Any = None
    reading: Reading = dataclasses.field(default_factory=Reading)

    def __post_init__(self):
        if self.updates < 1 or self.copies < 1:
            raise ValueError(
                f"--updates {self.updates} and --copies {self.copies} must be at least 1"
            )


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
        if "reading" in content:
            content["reading"] = from_dict(Reading, content["reading"], "reading.")
        return Imitation(**content)
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged or from another version: {error}") from error
