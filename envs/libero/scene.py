"""What LIBERO's scenes look like: two cameras, drawn cheaply."""

import numpy as np

from envs.rendering.renderer import Renderer  # isort: skip  (before mujoco: it chooses the backend)

import mujoco

AGENTVIEW, WRIST = "agentview", "robot0_eye_in_hand"
"""Names of the two cameras in LIBERO's models."""
CELLS = {"robot0": 0.01, "mount0": 0.01, "gripper0": 0.0, "": 0.004}
"""Prefix of a body's name -> edge, metres, of the cells in which corners of its meshes merge."""

# robosuite's groups of geoms and sites: 0 for collisions, 1 for pictures.
_VISIBLE = 1
# What has fewer faces costs little.
_FEW_FACES = 1000


def simplify(model: mujoco.MjModel) -> None:
    """Draws the meshes that touch nothing with fewer faces; physics stays as it is.

    The corners of a mesh that lie in one cell of a grid become one of them, and the faces that
    vanish by that are dropped: 250,000 to 400,000 faces become 75,000 to 155,000. A pixel of
    agentview covers 6 mm at 128 pixels. To be done before the renderer is made.
    """
    touching = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    meshes = model.geom_type == mujoco.mjtGeom.mjGEOM_MESH
    kept = set(model.geom_dataid[meshes & touching])
    for geom in np.flatnonzero(meshes & ~touching):
        mesh, body = model.geom_dataid[geom], model.body(model.geom_bodyid[geom]).name
        cell = next(cell for prefix, cell in CELLS.items() if body.startswith(prefix))
        if mesh not in kept and cell and model.mesh_facenum[mesh] > _FEW_FACES:
            _merge(model, mesh, cell)
        kept.add(mesh)


def _merge(model, mesh, cell):
    corners, faces = (_rows(model, name, mesh) for name in ("vert", "face"))
    cells = np.floor(model.mesh_vert[corners] / cell).astype(int)
    # One number a cell, as sorting rows takes five times as long.
    cells = np.ravel_multi_index((cells - cells.min(0)).T, np.ptp(cells, 0) + 1)
    _, first, inverse = np.unique(cells, return_index=True, return_inverse=True)
    merged = first[inverse][model.mesh_face[faces]]
    a, b, c = merged.T
    proper = (a != b) & (b != c) & (c != a)
    count = np.count_nonzero(proper)
    model.mesh_face[faces] = merged
    for rows in (model.mesh_face, model.mesh_facenormal, model.mesh_facetexcoord):
        rows[faces.start : faces.start + count] = rows[faces][proper]
    model.mesh_facenum[mesh] = count


def _rows(model, name, mesh):
    start = getattr(model, f"mesh_{name}adr")[mesh]
    return slice(start, start + getattr(model, f"mesh_{name}num")[mesh])


class LiberoRenderer(Renderer):
    """Draws a scene from either camera, upright: the first row is the top of the picture.

    Args:
        model: the model, ``simplify``-ed for speed.
        size: height and width of the pictures, pixels.
    """

    def __init__(self, model: mujoco.MjModel, size: int):
        super().__init__(model, AGENTVIEW, size)
        self._option.geomgroup[:] = 0
        self._option.geomgroup[_VISIBLE] = 1
        # The glow of a burner that is on is a site.
        self._option.sitegroup[:] = 0
        self._option.sitegroup[0] = 1
        self._ids = {name: model.camera(name).id for name in (AGENTVIEW, WRIST)}

    def view(self, data: mujoco.MjData, camera: str) -> np.ndarray:
        """What a camera sees, [H, W, 3] uint8."""
        self._camera.fixedcamid = self._ids[camera]
        self._draw(data, mujoco.mjtCatBit.mjCAT_ALL, sky=False)
        return self._rgb[::-1].copy()
