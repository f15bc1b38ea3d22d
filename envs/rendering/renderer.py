"""One cheap render that gives colour, depth and body mask together.

Importing this module chooses the OpenGL backend (``gl.choose``), and raises ImportError with what
to change or to install when none renders.
"""

import atexit
import importlib
import os
import weakref

import numpy as np

from envs.rendering import gl

gl.choose()
# Mesa's software rasteriser starts a thread a core, which at 64 pixels only costs time.
os.environ.setdefault("LP_NUM_THREADS", "0")

import mujoco  # noqa: E402  (after the choice of its backend)

# Not mujoco.GLContext, which is the wrong one where mujoco was imported before this module.
_BACKENDS = {"egl": "mujoco.egl", "osmesa": "mujoco.osmesa"}
_GLContext = importlib.import_module(
    _BACKENDS.get(os.environ["MUJOCO_GL"].lower(), "mujoco.gl_context")
).GLContext

_open_renderers: weakref.WeakSet["Renderer"] = weakref.WeakSet()


def _close_all():
    for renderer in list(_open_renderers):
        renderer.close()


class Renderer:
    """Renders one model from one camera, the moving bodies apart from the fixed world.

    Several renderers may live in one process; one renderer belongs to one thread.

    Args:
        model: the model to draw. Its ``vis`` settings are changed, its physics is not.
        camera: name of a camera of the model.
        size: height and width of the pictures, pixels.
        round_parts: facets around a capsule; 12 draw the same silhouette at 64 pixels as 28 do.

    Raises:
        ValueError: for a camera that the model does not have or a size below 1.
    """

    def __init__(self, model: mujoco.MjModel, camera: str, size: int, round_parts: int = 12):
        if size < 1:
            raise ValueError(f"picture size is {size!r}; it must be at least 1 pixel")
        names = [model.camera(i).name for i in range(model.ncam)]
        if camera not in names:
            raise ValueError(f"unknown camera {camera!r}; this model has {', '.join(names)}")
        quality = model.vis.quality
        quality.offsamples = 0
        quality.shadowsize = 0
        quality.numslices = round_parts
        quality.numstacks = max(2, round_parts // 2)
        quality.numquads = 1
        model.vis.global_.offwidth = model.vis.global_.offheight = size

        self._gl = _GLContext(size, size)
        self._gl.make_current()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        # After the first context, so that this runs before the backend's own clean-up at exit.
        if not _open_renderers:
            atexit.register(_close_all)
        _open_renderers.add(self)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR.value

        self.size = size
        self._model = model
        self._scene = mujoco.MjvScene(model, maxgeom=1000)
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED.value
        self._camera.fixedcamid = names.index(camera)
        self._rect = mujoco.MjrRect(0, 0, size, size)
        self._rgb = np.empty((size, size, 3), np.uint8)
        self._depth = np.empty((size, size), np.float32)
        self._near = np.float32(model.vis.map.znear * model.stat.extent)
        self._near_by_far = np.float32(model.vis.map.znear / model.vis.map.zfar)
        for flag in ("SHADOW", "REFLECTION", "HAZE", "SKYBOX"):
            self._scene.flags[getattr(mujoco.mjtRndFlag, f"mjRND_{flag}")] = False

    def body(self, data: mujoco.MjData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draws everything that can move, on nothing.

        Returns:
            rgb [H, W, 3] uint8, a view that the next render overwrites; flat indices of the N
            pixels that show the body, [N] int; and the distance of each along the camera's axis,
            [N] float32, metres.
        """
        self._draw(data, mujoco.mjtCatBit.mjCAT_DYNAMIC, sky=False)
        # The depth buffer is reversed, 0 is infinitely far; rows come bottom first.
        depth = self._depth[::-1].ravel()
        pixels = np.flatnonzero(depth != 0)  # a quarter of the time of flatnonzero(depth)
        metres = self._near / (self._near_by_far + depth[pixels] * (1 - self._near_by_far))
        return self._rgb[::-1], pixels, metres

    def backdrop(self, data: mujoco.MjData) -> np.ndarray:
        """Draws everything that cannot move: floor and sky, [H, W, 3] uint8."""
        self._draw(data, mujoco.mjtCatBit.mjCAT_STATIC, sky=True)
        return self._rgb[::-1].copy()

    def close(self) -> None:
        """Frees the OpenGL context; more calls do nothing."""
        if self._gl is None:
            return
        # Freeing what belongs to a context needs that context, not the last one used.
        self._gl.make_current()
        self._context.free()
        self._gl.free()
        self._gl = None
        _open_renderers.discard(self)

    def __del__(self):
        if hasattr(self, "_context"):
            self.close()

    def _draw(self, data, category, sky):
        if self._gl is None:
            raise RuntimeError("this renderer is closed")
        for flag in (mujoco.mjtRndFlag.mjRND_SKYBOX, mujoco.mjtRndFlag.mjRND_HAZE):
            self._scene.flags[flag] = sky
        self._gl.make_current()
        mujoco.mjv_updateScene(
            self._model, data, self._option, None, self._camera, int(category), self._scene
        )
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(self._rgb, self._depth, self._rect, self._context)
