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
    """Renders one model, whole or the moving bodies apart from the fixed world.

    Several renderers may live in one process; one renderer belongs to one thread.

    Args:
        model: the model to draw. Its ``vis`` settings are changed, its physics is not.
        camera: name of the camera of ``body`` and ``backdrop``.
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
        self.size = size
        self._own, self._round_parts = camera, round_parts
        self._gl = _GLContext(size, size)
        self._context = None
        # After the first context, so that this runs before the backend's own clean-up at exit.
        if not _open_renderers:
            atexit.register(_close_all)
        _open_renderers.add(self)
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED.value
        self._rect = mujoco.MjrRect(0, 0, size, size)
        self._rgb = np.empty((size, size, 3), np.uint8)
        self._depth = np.empty((size, size), np.float32)
        self.load(model)

    def load(self, model: mujoco.MjModel) -> None:
        """Draws another model from now on.

        It should have the same cameras. What OpenGL has compiled stays, so that this is faster than
        another renderer.
        """
        quality = model.vis.quality
        quality.offsamples = 0
        quality.shadowsize = 0
        quality.numslices = self._round_parts
        quality.numstacks = max(2, self._round_parts // 2)
        quality.numquads = 1
        model.vis.global_.offwidth = model.vis.global_.offheight = self.size

        self._free_context()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR.value

        self._model = model
        self._ids = {model.camera(i).name: i for i in range(model.ncam)}
        self._scene = mujoco.MjvScene(model, maxgeom=1000)
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
        self._draw(data, mujoco.mjtCatBit.mjCAT_DYNAMIC, sky=False, camera=self._own)
        # The depth buffer is reversed, 0 is infinitely far; rows come bottom first.
        depth = self._depth[::-1].ravel()
        pixels = np.flatnonzero(depth != 0)  # a quarter of the time of flatnonzero(depth)
        return self._rgb[::-1], pixels, self._metres(depth[pixels])

    def backdrop(self, data: mujoco.MjData) -> np.ndarray:
        """Draws everything that cannot move: floor and sky, [H, W, 3] uint8."""
        self._draw(data, mujoco.mjtCatBit.mjCAT_STATIC, sky=True, camera=self._own)
        return self._rgb[::-1].copy()

    def view(self, data: mujoco.MjData, camera: str) -> tuple[np.ndarray, np.ndarray]:
        """Draws everything from any camera of the model, on black.

        Returns:
            rgb [H, W, 3] uint8, the first row the top of the picture, and the distance along the
            camera's axis [H, W] float32, metres; the farthest that is drawn where nothing is.
        """
        self._draw(data, mujoco.mjtCatBit.mjCAT_ALL, sky=False, camera=camera)
        return self._rgb[::-1].copy(), self._metres(self._depth[::-1])

    def close(self) -> None:
        """Frees the OpenGL context; more calls do nothing."""
        if self._gl is None:
            return
        self._free_context()
        self._gl.free()
        self._gl = None
        _open_renderers.discard(self)

    def __del__(self):
        if hasattr(self, "_context"):
            self.close()

    def _free_context(self):
        # What belongs to a context is made and freed in that context, not in the last one used.
        self._gl.make_current()
        if self._context is not None:
            self._context.free()

    def _metres(self, nearness):
        return self._near / (self._near_by_far + nearness * (1 - self._near_by_far))

    def _draw(self, data, category, *, sky, camera):
        if self._gl is None:
            raise RuntimeError("this renderer is closed")
        self._camera.fixedcamid = self._ids[camera]
        for flag in (mujoco.mjtRndFlag.mjRND_SKYBOX, mujoco.mjtRndFlag.mjRND_HAZE):
            self._scene.flags[flag] = sky
        self._gl.make_current()
        mujoco.mjv_updateScene(
            self._model, data, self._option, None, self._camera, int(category), self._scene
        )
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(self._rgb, self._depth, self._rect, self._context)
