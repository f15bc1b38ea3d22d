"""Demonstrations of LIBERO under this package's names, upright, and with their instruction.

LIBERO's files (``TASK_demo.hdf5``, one a task) hold the pictures as OpenGL gives them, the bottom
row first, which their attribute ``macros_image_convention`` says (``opengl``), and the instruction
as a sentence in ``problem_info``. The official ones were recorded by replaying actions: their
observation stands after the action of the same index, which ``Reading.obs_after_action`` mends.
"""

import os
import pathlib

import h5py
import numpy as np

from mummi.imitation.demonstrations.demonstration import INSTRUCTION, Demonstration
from mummi.imitation.demonstrations.reading import Reading
from mummi.imitation.demonstrations.robomimic import Demonstrations
from mummi.imitation.demonstrations.sensors import Form
from mummi.modality import Modality

PICTURES = {"agentview_rgb": "agentview_rgb", "eye_in_hand_rgb": "wrist_rgb"}
"""LIBERO's name of a camera's pictures to this package's."""
PROPRIO = {"joint_states": 7, "gripper_states": 2, "ee_states": 3}
"""What LIBERO has in place of ``proprio``, and how many numbers of each: joints, fingers, hand."""
MADE = "obs/proprio"
"""Where ``proprio`` would be if the files had it."""
PARTS = (*PROPRIO, "ee_pos", "ee_ori")
"""What ``proprio`` stands for, which is read under these names where it is asked for."""


class LiberoDemonstrations(Demonstrations):
    """One of LIBERO's files, official or recorded by experiments.collect.

    Its sensors are ``agentview_rgb``, ``wrist_rgb``, ``proprio`` [12] and whatever else it has.
    Every demonstration has the instruction among its attributes.

    Args:
        path: the file.
        reading: as of ``Demonstrations``; its names are these.

    Attributes:
        instruction: the sentence, in lower case.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as ``Demonstrations``; no instruction, or pictures of a convention that is
            neither opengl nor opencv.
    """

    aside = PARTS

    def __init__(self, path: str | os.PathLike, reading: Reading | None = None):
        super().__init__(path, reading)
        try:
            self.instruction = self._sentence()
            self._upright = self._convention() == "opencv"
        except BaseException:
            self.close()
            raise

    def __getitem__(self, index: int) -> Demonstration:
        stored = super().__getitem__(index)
        return stored._replace(attributes={**stored.attributes, INSTRUCTION: self.instruction})

    def _sensors(self, demo: str) -> dict[str, str]:
        found = {PICTURES.get(name, name): place for name, place in super()._sensors(demo).items()}
        if all(name in found for name in PROPRIO):
            found["proprio"] = MADE
        return found

    def _form(self, demo: str, place: str) -> Form:
        if place != MADE:
            return super()._form(demo, place)
        return Form(np.dtype(np.float32), (sum(PROPRIO.values()),), "vector")

    def _stored(self, demo: str, place: str, modality: Modality, steps: int) -> np.ndarray:
        if place == MADE:
            parts = []
            for name, width in PROPRIO.items():
                shape = (steps, *super()._form(demo, f"obs/{name}").shape)
                parts.append(self._groups.array(demo, f"obs/{name}", shape)[:, :width])
            return np.concatenate(parts, 1)
        stored = super()._stored(demo, place, modality, steps)
        picture = modality.kind in ("image", "depth")
        return stored[:, ::-1] if picture and not self._upright else stored

    def _delivered(self, demo: str, place: str, steps: int) -> np.ndarray:
        places = [f"obs/{name}" for name in PROPRIO] if place == MADE else [place]
        return np.all(
            [super(LiberoDemonstrations, self)._delivered(demo, p, steps) for p in places], 0
        )

    def _sentence(self) -> str:
        problem = self.attributes.get("problem_info", {})
        sentence = problem.get("language_instruction")
        if not sentence:
            raise ValueError(
                f"{self._path}: 'problem_info' of 'data' has no language_instruction; "
                "LIBERO's files say there what is to be done"
            )
        return (sentence if isinstance(sentence, str) else " ".join(sentence)).lower()

    def _convention(self) -> str:
        convention = self.attributes.get("macros_image_convention", "opengl")
        if convention not in ("opengl", "opencv"):
            raise ValueError(
                f"{self._path}: macros_image_convention is {convention!r}; it must be opengl "
                "(bottom row first) or opencv (top row first)"
            )
        return convention


def is_libero(path: pathlib.Path) -> bool:
    """Whether a file has the attribute ``problem_info`` of ``data``, as LIBERO's alone have."""
    with h5py.File(path) as file:
        return "data" in file and "problem_info" in file["data"].attrs
