"""Metrics and films of a run to Weights & Biases, beside TensorBoard."""

import pathlib
import uuid
from collections.abc import Mapping

import yaml

from mummi.runs.files import atomic


class Wandb:
    """A run of Weights & Biases that is the folder's: a resumed run goes on in the same.

    wandb's own environment variables hold: ``WANDB_PROJECT`` (else ``mummi``), ``WANDB_MODE``, of
    which ``offline`` keeps everything in the folder until ``wandb sync``, and the like.

    Args:
        logdir: the run's folder, with its ``config.yaml`` if it has one; it gets ``wandb/``.

    Raises:
        ImportError: wandb is not installed.
    """

    def __init__(self, logdir: pathlib.Path):
        try:
            import wandb
        except ImportError as error:
            raise ImportError(
                "--logger wandb needs the package wandb: pip install wandb, or leave the flag out"
            ) from error
        self._video = wandb.Video
        name, config = logdir / "wandb" / "id", logdir / "config.yaml"
        if not name.is_file():
            with atomic(name) as temporary:
                temporary.write_text(uuid.uuid4().hex[:8])
        self._run = wandb.init(
            project=wandb.Settings().project or "mummi",
            name="/".join(logdir.parts[-2:]),
            id=name.read_text(),
            resume="allow",
            dir=logdir,
            config=yaml.safe_load(config.read_text())["config"] if config.is_file() else None,
        )
        # A resumed run logs some steps again, which wandb's own count would not take.
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Logs numbers of environment step ``step``."""
        self._run.log({**numbers, "step": step})

    def video(self, step: int, name: str, path: pathlib.Path) -> None:
        """Logs the film in the mp4 ``path``."""
        self._run.log({name: self._video(str(path), format="mp4"), "step": step})

    def close(self) -> None:
        """Sends what is left; may be called twice."""
        self._run.finish()
