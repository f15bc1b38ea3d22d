"""Scenes that robosuite recorded as states of the simulator: what cameras and joints told then."""

import importlib.util
import pathlib
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

import numpy as np

from envs.rendering import renderer  # noqa: F401  isort: skip  (it chooses the OpenGL backend)
import mujoco

from mummi.modality import Modality
from mummi.runs.names import closest

PROPRIO = ("eef_pos", "eef_quat", "gripper_qpos", "gripper_qvel", "joint_pos", "joint_vel")
"""What is told of each arm: place [3] in metres and rotation [4] (x, y, z, w) of its hand; angles
or openings of the joints of gripper and arm, and their speeds."""
_ARM = re.compile(r"robot\d+_joint\d+")
_FILE = "file"


class RecordedScene:
    """The scene of one recording, set to any of its states.

    The assets are those of the robosuite that is installed. No task is simulated: a recording of
    another version of robosuite has other names than this one's tasks look for.

    Args:
        model: the model's XML, as robosuite writes it into its recordings.
        size: height and width of the pictures.

    Attributes:
        cameras: names of those that there are.
        proprio: names of what joints and hands can tell, as robosuite has them, for example
            robot0_eef_pos.
        width: numbers of a state: the time, positions and velocities.

    Raises:
        ValueError: MuJoCo does not take the model.
        ModuleNotFoundError: robosuite is not installed.
    """

    def __init__(self, model: str, size: tuple[int, int]):
        try:
            self._model = mujoco.MjModel.from_xml_string(mended(model))
        except (ElementTree.ParseError, ValueError) as error:
            told = " ".join(str(error).split())
            raise ValueError(f"the model of a recording cannot be built: {told}") from error
        model = self._model
        self._data, self._size = mujoco.MjData(model), size
        self.cameras = tuple(model.camera(i).name for i in range(model.ncam))
        self.width = 1 + model.nq + model.nv
        joints = [model.joint(i).name for i in range(model.njnt)]
        arms = sorted({name.split("_")[0] for name in joints if _ARM.fullmatch(name)})
        self._arms = {arm: [j for j in joints if j.startswith(f"{arm}_joint")] for arm in arms}
        self._fingers = {
            arm: [j for j in joints if j.startswith(f"gripper{arm.removeprefix('robot')}_")]
            for arm in arms
        }
        self.proprio = tuple(
            f"{arm}_{what}"
            for arm in arms
            for what in PROPRIO
            if self._fingers[arm] or not what.startswith("gripper")
        )
        model.vis.global_.offheight, model.vis.global_.offwidth = size
        # Old recordings have the floor, and all have shapes for collisions, in group 0.
        model.geom_group[model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE] = 1
        self._renderer = mujoco.Renderer(model, *size)
        self._shown = mujoco.MjvOption()
        self._shown.geomgroup[0] = 0
        self._shown.sitegroup[:] = 0

    def __enter__(self) -> "RecordedScene":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Frees what renders."""
        self._renderer.close()

    def modalities(
        self, cameras: Sequence[str], proprio: Sequence[str], depth: bool
    ) -> tuple[Modality, ...]:
        """The sensors that ``observe`` delivers, named as robosuite and robomimic name them.

        Raises:
            ValueError: a camera or a name of ``proprio`` that there is not.
        """
        for what, names, known in (
            ("camera", cameras, self.cameras),
            ("proprioception", proprio, self.proprio),
        ):
            for name in names:
                if name not in known:
                    raise ValueError(
                        f"unknown {what} {name!r} (this recording has {', '.join(known)})"
                        f"{closest(name, known)}"
                    )
        found = [Modality(f"{name}_image", "image", (*self._size, 3)) for name in cameras]
        if depth:
            found += [Modality(f"{name}_depth", "depth", (*self._size, 1)) for name in cameras]
        self.set_state(np.zeros(self.width))
        return (*found, *(Modality(n, "vector", self._tell(n).shape) for n in proprio))

    def set_state(self, state: np.ndarray) -> None:
        """Sets the simulator to a state [width] of a recording."""
        nq, data = self._model.nq, self._data
        data.time, data.qpos[:], data.qvel[:] = state[0], state[1 : 1 + nq], state[1 + nq :]
        mujoco.mj_forward(self._model, data)

    def observe(self, modalities: Sequence[Modality]) -> dict[str, np.ndarray]:
        """The value of each sensor now; depth in metres."""
        found = {}
        for m in modalities:
            if m.kind == "vector":
                found[m.name] = self._tell(m.name).astype(np.float32)
                continue
            camera, _, kind = m.name.rpartition("_")
            self._renderer.update_scene(self._data, camera, self._shown)
            if kind == "depth":
                self._renderer.enable_depth_rendering()
                found[m.name] = self._renderer.render()[..., None]
                self._renderer.disable_depth_rendering()
            else:
                found[m.name] = self._renderer.render()
        return found

    def _tell(self, name: str) -> np.ndarray:
        """What a name of ``proprio`` tells."""
        arm, what = name.split("_", 1)
        if what == "eef_pos":
            return self._data.site(f"gripper{arm.removeprefix('robot')}_grip_site").xpos.copy()
        if what == "eef_quat":
            return np.roll(self._data.body(f"{arm}_right_hand").xquat, -1)
        part, which = what.rsplit("_", 1)
        joints = (self._fingers if part == "gripper" else self._arms)[arm]
        told = [self._data.joint(joint) for joint in joints]
        return np.concatenate([j.qvel if which in ("qvel", "vel") else j.qpos for j in told])


def mended(model: str) -> str:
    """A recorded model as MuJoCo takes it here.

    Assets are those of the robosuite that is installed, wherever it was installed when this was
    recorded, and the brackets in which old versions of it wrote some numbers are taken away.

    Raises:
        ModuleNotFoundError: robosuite is not installed.
    """
    package = importlib.util.find_spec("robosuite")
    if package is None:
        raise ModuleNotFoundError(
            "recordings of robosuite need robosuite, which is not installed: pip install -r "
            "requirements.txt",
            name="robosuite",
        )
    root = pathlib.Path(package.origin).parent
    tree = ElementTree.fromstring(model)
    for element in tree.iter():
        for key, value in element.attrib.items():
            if value.startswith("[") and value.endswith("]"):
                element.set(key, value[1:-1].replace(",", " "))
        parts = pathlib.PurePath(element.get(_FILE, "")).parts
        if "robosuite" in parts:
            last = len(parts) - parts[::-1].index("robosuite")
            element.set(_FILE, str(_installed(root, root.joinpath(*parts[last:]))))
    return ElementTree.tostring(tree, encoding="unicode")


def _installed(root: pathlib.Path, asset: pathlib.Path) -> pathlib.Path:
    """Where an asset is, which versions of robosuite have in unlike folders."""
    if asset.exists():
        return asset
    found = list((root / "models" / "assets").rglob(asset.name))
    return found[0] if len(found) == 1 else asset
