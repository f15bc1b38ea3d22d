"""Domain randomisation of the wiping scene, drawn anew for each episode."""

import dataclasses

import numpy as np

from envs.table_wiping.scene import ROBOT, WORKSPACE, parts
from envs.table_wiping.simulator import TABLE_TEXTURE

import mujoco  # isort: skip  (after table_scene, which chooses the OpenGL backend)

CONTRAST = 0.4
"""Least distance between the colours of table and dirt, in RGB of [0, 1]."""


@dataclasses.dataclass(frozen=True)
class Randomisation:
    """Range of each part; 0 switches it off and leaves the other parts' draws as they are.

    Attributes:
        colours: how far table, dirt, arm, tool, floor and walls go from their own colours
            towards random ones; 1 is all the way.
        texture: depth of a random pattern on the table, as a fraction of its brightness.
        light_brightness: the light and the camera's own lamp, by a factor of 1 ± this.
        light_tilt: each horizontal component of the light's direction, where down is 1.
        camera_shift: each coordinate of each camera, metres.
        camera_turn: rotation of each camera about each axis, radians.
        camera_zoom: vertical field of view of each camera, by a factor of 1 ± this.
        friction: of table and tool, by a factor of 1 ± this.
        damping: of the arm's joints, by a factor of 1 ± this.
        mass: of each body of arm and tool with its inertia, by a factor of 1 ± this.

    Raises:
        ValueError: for a negative range, or a factor or fraction that could reach 0 or below.
    """

    colours: float = 0.5
    texture: float = 0.3
    light_brightness: float = 0.3
    light_tilt: float = 0.5
    camera_shift: float = 0.02
    camera_turn: float = 0.04
    camera_zoom: float = 0.05
    friction: float = 0.3
    damping: float = 0.3
    mass: float = 0.1

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            free = field.name in ("light_tilt", "camera_shift", "camera_turn")
            most = np.inf if free else 1.0
            if not 0 <= value <= most:
                raise ValueError(
                    f"randomisation {field.name} is {value!r}; it must be at least 0"
                    + ("" if free else " and at most 1")
                )


DEFAULT = Randomisation()
"""What the task randomises unless told otherwise."""

_ARRAYS = (
    *("geom_rgba", "geom_matid", "mat_rgba", "light_dir", "light_diffuse"),
    *("cam_pos", "cam_quat", "cam_fovy"),
    *("geom_friction", "dof_damping", "body_mass", "body_inertia"),
)

# Parts in one colour, and the mean colours of parts with a texture, which a colour multiplies.
_UNIFORM = "dirt", "arm", "tool"
_TEXTURED = {"table": np.array((0.98, 0.98, 0.96)), "floor": np.ones(3), "walls": np.ones(3)}


class Randomiser:
    """Redraws appearance, cameras and dynamics of one prepared model.

    Args:
        model: what is changed; as it is now it is the middle of every range.
        settings: the ranges.

    Attributes:
        texture: id of the texture whose ``tex_data`` each draw rewrites.
    """

    def __init__(self, model: mujoco.MjModel, settings: Randomisation):
        self.texture = model.texture(TABLE_TEXTURE).id
        self._model, self._settings = model, settings
        self._parts = parts(model)
        self._colour_of = _TEXTURED | {
            part: model.geom_rgba[self._parts[part][0], :3].copy() for part in _UNIFORM
        }
        materials = [model.mat(i).name for i in range(model.nmat)]
        self._arm_materials = [i for i, n in enumerate(materials) if n.startswith("robot0_")]
        self._nominal = {name: getattr(model, name).copy() for name in _ARRAYS}
        self._lamp = np.array(model.vis.headlight.diffuse), np.array(model.vis.headlight.ambient)
        self._cameras = [model.camera(name).id for name in (WORKSPACE, ROBOT)]
        names = [model.body(i).name for i in range(model.nbody)]
        self._arm = [i for i, n in enumerate(names) if n.startswith(("robot0_", "gripper0_"))]

    def __call__(self, data: mujoco.MjData, seed: np.random.SeedSequence) -> None:
        """Draws everything anew; the state in ``data`` is to be reset afterwards."""
        for name, value in self._nominal.items():
            getattr(self._model, name)[:] = value
        draws = (self._colours, self._pattern, self._lights, self._move_cameras, self._dynamics)
        for draw, child in zip(draws, seed.spawn(len(draws)), strict=True):
            draw(np.random.default_rng(child))
        mujoco.mj_setConst(self._model, data)

    def _colours(self, rng):
        far, own = self._settings.colours, self._colour_of
        if not far:
            return

        def draw():
            return {part: (1 - far) * own[part] + far * rng.random(3) for part in own}

        colours = draw()
        while np.linalg.norm(colours["table"] - colours["dirt"]) < CONTRAST:
            colours = draw()
        for part, geoms in self._parts.items():
            self._model.geom_rgba[geoms, :3] = colours[part]
        # The arm's own surfaces, which only the full drawing shows, are tinted.
        self._model.mat_rgba[self._arm_materials, :3] *= colours["arm"]

    def _pattern(self, rng):
        depth = self._settings.texture
        if not depth:
            return
        model, size = self._model, self._model.tex_width[self.texture]
        x, y = np.meshgrid(np.linspace(0, 1, size), np.linspace(0, 1, size))
        angle, cycles, phase = rng.uniform(0, np.pi), rng.uniform(0.5, 8), rng.uniform(0, 1)
        wave = np.sin(2 * np.pi * (cycles * (x * np.cos(angle) + y * np.sin(angle)) + phase))
        noise = rng.uniform(-1, 1, (size, size))
        kind = rng.integers(4)
        pattern = (wave, np.sign(wave), np.sign(wave) * np.sign(wave.T), noise)[kind]
        grey = 255 * (1 - rng.uniform(0, depth) * (pattern + 1) / 2)
        start = model.tex_adr[self.texture]
        pixels = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1)
        faces = np.tile(pixels.ravel(), 6)
        model.tex_data[start : start + faces.size] = faces
        model.geom_matid[self._parts["table"]] = model.mat("table_mat").id

    def _lights(self, rng):
        settings, model = self._settings, self._model
        direction = model.light_dir / -model.light_dir[:, 2:]
        direction[:, :2] += rng.uniform(-1, 1, (model.nlight, 2)) * settings.light_tilt
        model.light_dir[:] = direction / np.linalg.norm(direction, axis=1, keepdims=True)
        bright = 1 + rng.uniform(-1, 1, 2) * settings.light_brightness
        model.light_diffuse[:] *= bright[0]
        lamp = model.vis.headlight
        lamp.diffuse[:], lamp.ambient[:] = (bright[1] * value for value in self._lamp)

    def _move_cameras(self, rng):
        settings, model = self._settings, self._model
        for camera in self._cameras:
            model.cam_pos[camera] += rng.uniform(-1, 1, 3) * settings.camera_shift
            turn = rng.uniform(-1, 1, 3) * settings.camera_turn
            mujoco.mju_quatIntegrate(model.cam_quat[camera], turn, 1.0)
            model.cam_fovy[camera] *= 1 + rng.uniform(-1, 1) * settings.camera_zoom

    def _dynamics(self, rng):
        settings, model = self._settings, self._model
        model.geom_friction[:, 0] *= 1 + rng.uniform(-1, 1) * settings.friction
        model.dof_damping[:] *= 1 + rng.uniform(-1, 1, model.nv) * settings.damping
        factor = 1 + rng.uniform(-1, 1, len(self._arm)) * settings.mass
        model.body_mass[self._arm] *= factor
        model.body_inertia[self._arm] *= factor[:, None]
