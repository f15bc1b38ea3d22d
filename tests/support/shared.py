"""Agents, latents and heads of equal settings share what JAX has compiled for the first of them.

Each is pure functions of its settings, and a test process makes hundreds of a few kinds.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterator

import jax
import pytest

from mummi.agent import Agent, AgentState
from mummi.imitation.chunks.head import ChunkHead
from mummi.imitation.chunks.network import ChunkNetwork
from mummi.imitation.heads.bc import BehaviourCloning
from mummi.imitation.latents import Latents
from mummi.runs import devices
from tests.support.small import drawn

# Functions elsewhere that take the model as static are compiled once for one model.
SHARED = ("model", "behavior", "init", "_compiled_act")
OF_A_MESH = ("update", "update_many", "update_model")


def _optimised() -> bool:
    return not jax.config.values["jax_disable_most_optimizations"]


def _share(patch: pytest.MonkeyPatch, kind: type, names: tuple[str, ...], key: Callable) -> None:
    """New objects of a class take functions, compiled, from the first of the same key."""
    first, make = {}, kind.__init__

    def init(self, *settings):
        make(self, *settings)
        known = first.setdefault(key(*settings), self)
        for name in names:
            if inspect.ismethod(getattr(known, name)):
                setattr(known, name, jax.jit(getattr(known, name)))
            setattr(self, name, getattr(known, name))

    patch.setattr(kind, "__init__", init)


def _of_head(config, sizes) -> str:
    return repr((config, sizes, _optimised()))


@contextlib.contextmanager
def shared_functions() -> Iterator[None]:
    """Within it latents of one model and heads of equal settings share functions."""
    with pytest.MonkeyPatch.context() as patch:
        _share(patch, Latents, ("_step", "_sense", "_scan"), lambda agent, _: agent.model)
        _share(patch, ChunkHead, ("_act",), _of_head)
        _share(patch, ChunkNetwork, ("init",), _of_head)
        _share(patch, BehaviourCloning, ("_act", "_measure", "_update"), _of_head)
        yield


@contextlib.contextmanager
def shared_agents() -> Iterator[None]:
    """Within it every new agent takes model and functions from the first of the same settings.

    A command begins with parameters that are ``drawn``.
    """
    first: dict[str, Agent] = {}
    meshed: dict[tuple, Agent] = {}
    shapes: dict[Callable, AgentState | None] = {}
    make, run_once = Agent.__init__, devices.run_once

    def init(self, config, modalities, action_size, mesh=None):
        make(self, config, modalities, action_size, mesh)
        settings = (config.model, config.behavior, config.mpc, config.method, config.pace)
        settings += (config.average,)
        compiled_as = (type(self), config.bfloat16, jax.default_backend(), _optimised())
        key = repr((settings, self.modalities, action_size, compiled_as))
        if key not in first:
            first[key] = self
            self.init = jax.jit(self.init)
            shapes[self.init] = None
        on_mesh = meshed.setdefault((key, repr(mesh)), self)
        for names, known in ((SHARED, first[key]), (OF_A_MESH, on_mesh)):
            for name in names:
                setattr(self, name, getattr(known, name))

    def run(function, *arguments):
        if function not in shapes:
            return run_once(function, *arguments)
        shapes[function] = shapes[function] or jax.eval_shape(function, *arguments)
        return drawn(shapes[function], *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Agent, "__init__", init)
        patch.setattr(devices, "run_once", run)
        yield
