"""Demonstrations of LIBERO under this package's names, upright, and with their instruction.

LIBERO's files (``TASK_demo.hdf5``, one a task) hold the pictures as OpenGL gives them, the bottom
row first, which their attribute ``macros_image_convention`` says (``opengl``), and the instruction
as a sentence in ``problem_info``. The official ones were recorded by replaying actions: their
observation stands after the action of the same index.
"""

import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from mummi.imitation.demonstrations.reader import Demonstration, Demonstrations
from mummi.modality import Modality

PICTURES = {"agentview_rgb": "agentview_rgb", "wrist_rgb": "eye_in_hand_rgb"}
"""Pictures by this package's name, and LIBERO's name of each."""
PROPRIO = ("joint_states", "gripper_states", "ee_states")
"""What LIBERO has in place of ``proprio``: joints, fingers, and the first three of the hand."""


class LiberoDemonstrations(Demonstrations):
    """One of LIBERO's files, official or recorded by experiments.collect; a ``Demonstrations``.

    Args:
        path: the file.
        names: of the modalities wanted, of ``agentview_rgb``, ``wrist_rgb``, ``instruction`` and
            ``proprio``.
        embed: gives the vectors [1, E] of one sentence.

    Attributes:
        instruction: the sentence, in lower case.
        modalities: as ``names`` orders them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as ``Demonstrations``; an unknown name, no instruction, or pictures of a
            convention that is neither opengl nor opencv.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        names: Sequence[str],
        embed: Callable[[tuple[str, ...]], np.ndarray],
    ):
        known = (*PICTURES, "instruction", "proprio")
        if unknown := [name for name in names if name not in known]:
            raise ValueError(
                f"{path}: LIBERO's files do not give {unknown[0]!r}; they give {', '.join(known)}"
            )
        sources = {name: PICTURES[name] for name in names if name in PICTURES}
        if "proprio" in names:
            sources |= {name: name for name in PROPRIO}
        super().__init__(path, sources)
        try:
            sentence = self._sentence()
            self._upright = self._convention() == "opencv"
            self._vector = np.asarray(embed((sentence,))[0], np.float32)
        except BaseException:
            self.close()
            raise
        self.instruction = sentence
        made = {
            "instruction": Modality("instruction", "embedding", self._vector.shape, can_fail=False),
            "proprio": Modality("proprio", "vector", (12,)),
        }
        stored = {m.name: m for m in self.modalities}
        self.modalities = tuple((stored | made)[name] for name in names)

    def __getitem__(self, index: int) -> Demonstration:
        stored = super().__getitem__(index)
        values, available = {}, {}
        for name in (m.name for m in self.modalities):
            available[name] = stored.availability(name)
            if name == "instruction":
                values[name] = np.tile(self._vector, (len(stored.actions), 1))
            elif name == "proprio":
                joints, fingers, hand = (stored.values[source] for source in PROPRIO)
                values[name] = np.concatenate((joints, fingers, hand[:, :3]), 1)
                available[name] = np.all([stored.availability(s) for s in PROPRIO], 0)
            else:
                picture = stored.values[name]
                values[name] = picture if self._upright else np.ascontiguousarray(picture[:, ::-1])
        complete = stored.available is None
        return stored._replace(values=values, available=None if complete else available)

    def _sentence(self):
        problem = self.attributes.get("problem_info", {})
        sentence = problem.get("language_instruction")
        if not sentence:
            raise ValueError(
                f"{self._path}: 'problem_info' of 'data' has no language_instruction; "
                "LIBERO's files say there what is to be done"
            )
        return (sentence if isinstance(sentence, str) else " ".join(sentence)).lower()

    def _convention(self):
        convention = self.attributes.get("macros_image_convention", "opengl")
        if convention not in ("opengl", "opencv"):
            raise ValueError(
                f"{self._path}: macros_image_convention is {convention!r}; it must be opengl "
                "(bottom row first) or opencv (top row first)"
            )
        return convention


def libero_files(path: str | os.PathLike) -> list[pathlib.Path]:
    """The file itself, or the HDF5 files of a folder, sorted by name.

    Raises:
        FileNotFoundError: neither file nor folder, or a folder without such files.
    """
    path = pathlib.Path(path)
    found = sorted(path.glob("*.hdf5")) if path.is_dir() else [path]
    if not found or not found[0].is_file():
        raise FileNotFoundError(f"{str(path)!r} is neither an HDF5 file nor a folder with some")
    return found
