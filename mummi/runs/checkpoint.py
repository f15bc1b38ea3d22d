"""Checkpoints of a run: parameters, optimiser state and counters, saved whole or not at all."""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from mummi.runs.files import atomic

_KEEP = 2
_CHECKSUMS = "checksums.json"


class Checkpointer:
    """Keeps the last two checkpoints of a run, written by Orbax.

    A checkpoint is written under a temporary name and renamed when complete, so whatever moment
    a run is killed at, the last complete one is there. Reading never changes the folder, so
    another process may evaluate while a run trains. Checksums of its files are written into it
    last and compared before it is read: Orbax takes some damage for data, and reading other damage
    leaves threads behind that fail later.

    Args:
        directory: folder of the checkpoints; made by the first ``save``.
    """

    def __init__(self, directory: str | os.PathLike):
        self._directory = Path(directory).absolute()
        self._damaged: set[int] = set()

    def save(self, step: int, state: Any, meta: Mapping[str, Any]) -> None:
        """Writes a checkpoint and removes all but the last two; returns when it is complete.

        Checkpoints that ``restore`` found damaged are removed first.

        Args:
            step: environment steps taken so far; larger than that of every checkpoint here.
            state: pytree of jax arrays, none of them empty; random keys as raw uint32.
            meta: JSON-able dict.

        Raises:
            ValueError: when ``step`` is not larger than the latest.
            TypeError: when ``meta`` is not JSON-able.
            OSError: when it cannot be written, for example on a full disk; those before it stay.
        """
        json.dumps(meta)
        with self._manager(read_only=False) as manager:
            for damaged in self._damaged.intersection(manager.all_steps()):
                manager.delete(damaged)
            self._damaged.clear()
            latest = manager.latest_step()
            if latest is not None and step <= latest:
                raise ValueError(
                    f"checkpoint at step {step} in {self._directory}, which has step {latest} "
                    "already; steps must increase"
                )
            described = {path: list(form) for path, form in _describe(state).items()}
            items = ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                meta=ocp.args.JsonSave({"meta": dict(meta), "leaves": described}),
            )
            try:
                manager.save(step, args=items)
                if jax.process_index() == 0:
                    _write_checksums(self._directory / str(step))
            except Exception as error:
                # Orbax's futures would tell the same again, with a traceback each.
                logging.getLogger("asyncio").setLevel(logging.CRITICAL)
                free = shutil.disk_usage(self._directory).free / 2**20
                raise OSError(
                    f"cannot write checkpoint {self._directory / str(step)} with {free:.1f} MiB "
                    f"free: {_first_line(error)}"
                ) from error

    def latest_step(self) -> int | None:
        """Step of the newest complete checkpoint, None when there is none."""
        return max(self._steps(), default=None)

    def restore(self, template: Any, step: int | None = None) -> tuple[Any, dict[str, Any]]:
        """Reads a checkpoint, by default the newest that can be read.

        A damaged newest one is passed over with a warning that names it.

        Args:
            template: pytree of arrays or ``jax.ShapeDtypeStruct`` of the saved structure, shapes
                and dtypes. Leaves come back on the devices of the template's, or on the default
                device where it has none, whatever device they were saved from.
            step: which checkpoint, or None for the newest.

        Returns:
            The state, as jax arrays, and the meta dict.

        Raises:
            FileNotFoundError: when there is no checkpoint, or none at ``step``.
            ValueError: when a leaf differs from the template's, naming it.
            OSError: when no checkpoint, or the one asked for, can be read.
        """
        steps = self._steps()
        if not steps or (step is not None and step not in steps):
            asked = "" if step is None else f" at step {step}; there are {steps}"
            raise FileNotFoundError(f"no checkpoint in {self._directory}{asked}")
        for candidate in sorted(steps, reverse=True) if step is None else [step]:
            path = self._directory / str(candidate)
            try:
                _require_intact(path)
                saved = self._read(candidate, "meta", ocp.args.JsonRestore())
                leaves = {name: tuple(form) for name, form in saved["leaves"].items()}
                meta = saved["meta"]
            except Exception as error:
                self._pass_over(candidate, error)
                continue
            _require_same(_describe(template), leaves, path)
            try:
                target = ocp.args.StandardRestore(jax.tree.map(_target, template))
                return self._read(candidate, "state", target), meta
            except Exception as error:
                self._pass_over(candidate, error)
        raise OSError(
            f"no readable checkpoint in {self._directory}; damaged: {sorted(self._damaged)}"
        )

    @contextlib.contextmanager
    def _manager(self, read_only: bool) -> Iterator[ocp.CheckpointManager]:
        with _quiet():
            options = ocp.CheckpointManagerOptions(
                max_to_keep=None if read_only else _KEEP,
                create=not read_only,
                cleanup_tmp_directories=not read_only,
                read_only=read_only,
                enable_async_checkpointing=False,
            )
            with ocp.CheckpointManager(self._directory, options=options) as manager:
                yield manager

    def _steps(self) -> list[int]:
        if not self._directory.is_dir():
            return []
        with self._manager(read_only=True) as manager:
            return list(manager.all_steps())

    def _read(self, step: int, item: str, args: Any) -> Any:
        with self._manager(read_only=True) as manager:
            return manager.restore(step, args=ocp.args.Composite(**{item: args}))[item]

    def _pass_over(self, step: int, error: Exception) -> None:
        self._damaged.add(step)
        path = self._directory / str(step)
        warnings.warn(f"passed over damaged checkpoint {path}: {_first_line(error)}", stacklevel=3)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the logger of absl, through which Orbax tells each save in a dozen lines."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a checkpoint, by its path in it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != _CHECKSUMS:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[str(path.relative_to(folder))] = digest
    return found


def _write_checksums(folder: Path) -> None:
    with atomic(folder / _CHECKSUMS) as temporary:
        temporary.write_text(json.dumps(_checksums(folder)))


def _require_intact(folder: Path) -> None:
    """Raises a ValueError where a file is not as it was written.

    A checkpoint whose writer was killed before it wrote the checksums is taken as it is.
    """
    path = folder / _CHECKSUMS
    if not path.exists():
        return
    expected, found = json.loads(path.read_text()), _checksums(folder)
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise ValueError(f"its file {name} is not as it was written")


def _first_line(error: Exception) -> str:
    return (str(error) or repr(error)).splitlines()[0]


def _describe(state: Any) -> dict[str, tuple[str, str]]:
    """Shape and dtype of every leaf by its path."""
    return {
        jax.tree_util.keystr(path): (str(tuple(leaf.shape)), str(leaf.dtype))
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }


def _require_same(expected: dict, found: dict, path: Path) -> None:
    for leaf in sorted(expected.keys() | found.keys()):
        if expected.get(leaf) != found.get(leaf):
            wanted, got = (
                "{} {}".format(*forms[leaf]) if leaf in forms else "no such leaf"
                for forms in (expected, found)
            )
            raise ValueError(
                f"checkpoint {path} does not fit this agent: leaf {leaf} is {wanted} in the "
                f"agent and {got} in the checkpoint; restore with the configuration it was "
                "saved with"
            )


def _target(leaf: Any) -> jax.ShapeDtypeStruct:
    # Without a sharding Orbax would look for the devices that the checkpoint was saved from.
    sharding = getattr(leaf, "sharding", None)
    if sharding is None:
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
