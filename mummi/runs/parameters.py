"""The parameters that act: of a run's last checkpoint, or of an agent that was released."""

import pathlib
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from mummi.runs.checkpoint import Checkpointer
from mummi.runs.files import atomic

FILE = "parameters.npz"
"""Parameters of a released agent, which has no checkpoints."""


@runtime_checkable
class Trainable(Protocol):
    """Whose parameters they are: an ``Agent``."""

    def init(self, seed: int) -> Any:
        """Its state, whose ``average`` is what acts."""


def load(logdir, agent: Trainable) -> tuple[Any, int]:
    """The parameters that act, and the step that they are of.

    Args:
        logdir: folder of a run, or of a released agent.
        agent: of the run's settings.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: they are another agent's, or the file is damaged.
        OSError: no checkpoint can be read.
    """
    logdir, template = pathlib.Path(logdir), jax.eval_shape(agent.init, 0)
    if (logdir / FILE).is_file():
        return _read(logdir / FILE, template.average)
    state, meta = Checkpointer(logdir / "checkpoints").restore(template)
    return state.average, meta["step"]


def save(logdir, parameters: Any, step: int) -> None:
    """Writes ``parameters.npz``: half precision, a fifth of a checkpoint's size or less.

    Args:
        logdir: the folder.
        parameters: pytree of arrays.
        step: that they are of.

    Raises:
        ValueError: a number is too large for half precision.
    """
    arrays = {name: halved(name, leaf) for name, leaf in _leaves(parameters).items()}
    with atomic(pathlib.Path(logdir) / FILE) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, step=step, **arrays)


def halved(name: str, array) -> np.ndarray:
    """An array of float32 as float16, others as they are.

    Raises:
        ValueError: a number is too large for it, by the array's ``name``.
    """
    array = np.asarray(array)
    if array.dtype != np.float32:
        return array
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    if not np.isfinite(half).all():
        raise ValueError(f"{name} has numbers up to {np.abs(array).max():g}, beyond float16")
    return half


def _read(path: pathlib.Path, template: Any) -> tuple[Any, int]:
    try:
        with path.open("rb") as stream, np.load(stream) as content:
            arrays = dict(content)
        step = int(arrays.pop("step"))
    except Exception as error:
        raise ValueError(f"{path} is damaged ({error})") from error
    expected = _leaves(template)
    for name in sorted(expected.keys() ^ arrays.keys()):
        where = "the agent" if name in expected else "the file"
        raise ValueError(f"{path} does not fit this agent: {name} is only in {where}")
    for name, leaf in expected.items():
        if arrays[name].shape != leaf.shape:
            raise ValueError(
                f"{path} does not fit this agent: {name} is {arrays[name].shape}, not {leaf.shape}"
            )
    leaves = [jax.numpy.asarray(arrays[name], leaf.dtype) for name, leaf in expected.items()]
    return jax.tree.unflatten(jax.tree.structure(template), leaves), step


def _leaves(tree: Any) -> Mapping[str, Any]:
    return {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(tree)}
