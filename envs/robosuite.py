"""What all tasks on robosuite share: a quiet import, seeds, and cheap control steps."""

import contextlib
import logging
import os
import warnings
from unittest import mock

import mujoco
import numpy as np

from envs.rendering.renderer import Renderer  # noqa: F401  isort: skip  (it chooses the OpenGL backend)


@contextlib.contextmanager
def quiet_import():
    """What the imports of robosuite and LIBERO do beside importing is kept from happening.

    They change the filters of warnings, and robosuite advises to write a file of private settings.
    It opens a log at a fixed place, which on a shared machine belongs to whoever came first. And it
    takes CUDA_VISIBLE_DEVICES, which is for the networks, to list the devices of EGL as well.
    """
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            mock.patch.object(logging, "FileHandler", lambda _: logging.NullHandler()),
            mock.patch.dict(os.environ),
        ):
            warnings.simplefilter("ignore")
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
            yield
    finally:
        logging.disable(level)


with quiet_import():
    from robosuite.controllers import load_controller_config as load_controller_config


@contextlib.contextmanager
def global_numpy_random(seed: np.random.SeedSequence):
    """Seeds NumPy's global generator, the only one robosuite draws from, and restores it after."""
    before = np.random.get_state()
    np.random.set_state(np.random.RandomState(np.random.MT19937(seed)).get_state())
    try:
        yield
    finally:
        np.random.set_state(before)


class OneForward:
    """A robosuite environment's control step with the same numbers and a third of the dynamics.

    In each of the 25 physics steps robosuite computes the forward dynamics three times in the same
    state: before it asks the controller, as the controller begins, and to take the step. Here
    positions and velocities are computed before the controller, which needs no more, and the step
    is finished after it. Only at the first of the 25 all is computed before, since the forces at
    the wrist are read there.
    """

    def step(self, action):
        """robosuite's own."""
        model, data = self.sim.model._model, self.sim.data._data
        begun, first = False, True

        def forward():
            nonlocal begun, first
            if not begun:
                (mujoco.mj_forward if first else mujoco.mj_step1)(model, data)
            begun, first = True, False

        def step(with_udd=True):
            nonlocal begun
            mujoco.mj_step2(model, data)
            begun = False

        self.sim.forward, self.sim.step = forward, step
        try:
            return super().step(action)
        finally:
            del self.sim.forward, self.sim.step
