"""Meshes of fewer faces and textures of fewer pixels; physics knows neither."""

from collections.abc import Container, Mapping

import mujoco
import numpy as np
from PIL import Image

# What has fewer faces costs little.
_FEW_FACES = 1000


def meshes(
    model: mujoco.MjModel, cells: Mapping[str, float], leave: Container[int] = frozenset()
) -> None:
    """Draws a model's meshes with fewer faces; to be done before a renderer is made.

    The corners of a mesh that lie in one cell of a grid become one of them, and the faces that
    vanish by that are dropped. Physics stays as it is, for it knows the corners alone.

    Args:
        model: what is changed.
        cells: prefix of a body's name -> edge of the cells of its meshes, metres; the first that
            fits counts, and 0 leaves them as they are. A body that none fits is left, too.
        leave: ids of meshes that stay as they are.
    """
    done = set()
    for geom in np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_MESH):
        mesh, body = int(model.geom_dataid[geom]), model.body(model.geom_bodyid[geom]).name
        cell = next((cell for prefix, cell in cells.items() if body.startswith(prefix)), 0)
        many = model.mesh_facenum[mesh] > _FEW_FACES
        if cell and many and mesh not in leave and mesh not in done:
            _merge(model, mesh, cell)
        done.add(mesh)


def touching(model: mujoco.MjModel) -> set[int]:
    """Ids of the meshes of geoms that may touch something."""
    collide = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    drawn = model.geom_type == mujoco.mjtGeom.mjGEOM_MESH
    return set(model.geom_dataid[drawn & collide].tolist())


def textures(model: mujoco.MjModel, most: int) -> None:
    """Averages the textures of a model down to a width of about ``most`` pixels.

    A software renderer takes most of a second for the smaller copies of large ones; to be done
    before a renderer is made. Those of cubes and skies whose faces have no such divisor stay as
    they are.
    """
    for texture in range(model.ntex):
        width, height = model.tex_width[texture], model.tex_height[texture]
        factor, channels = width // most, model.tex_nchannel[texture]
        flat = model.tex_type[texture] == mujoco.mjtTexture.mjTEXTURE_2D
        if factor < 2 or (not flat and (width % factor or height % factor)):
            continue
        first = model.tex_adr[texture]
        pixels = model.tex_data[first : first + width * height * channels]
        small = _averaged(pixels.reshape(height, width, channels), factor)
        model.tex_data[first : first + small.size] = small.ravel()
        model.tex_height[texture], model.tex_width[texture] = small.shape[:2]


def _averaged(picture, factor):
    """Averages of blocks of pixels, a channel at a time; those at the edge may be narrower."""
    channels = [Image.fromarray(channel) for channel in np.moveaxis(picture, -1, 0)]
    return np.stack([np.asarray(channel.reduce(int(factor))) for channel in channels], -1)


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
