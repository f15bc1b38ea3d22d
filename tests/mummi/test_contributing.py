"""What CONTRIBUTING tells to write does what it says."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mummi import config
from mummi.model import objectives
from mummi.model.world_model import WorldModel
from tests.support.small import ACTION_SIZE, MODALITIES, make_batch, random_parameters, small_config

pytestmark = pytest.mark.usefixtures("quick_compile")

PAGE = (pathlib.Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()


def test_the_method_of_the_example_pulls_each_expert_to_g_of_z(monkeypatch):
    section = PAGE.split("### Add a method")[1]
    source = re.search(r"```python\n(class .+?)```", section, re.DOTALL)[1]
    names = vars(objectives) | {"jnp": jnp}
    exec(source, names)
    objective, method = re.findall(r'"(\w+)": ', source.splitlines()[-1])
    monkeypatch.setitem(objectives.OBJECTIVES, objective, names["ExpertRegression"])
    monkeypatch.setitem(config.METHODS, method, ("poe", objective))
    model = WorldModel(small_config("laptop").model, MODALITIES, ACTION_SIZE, method)
    params, batch, key = random_parameters(model.init), make_batch(), jax.random.PRNGKey(0)
    _, (posterior, metrics) = jax.jit(model.loss)(params, batch, key)
    belief = model.perceive(params, batch["values"], batch["available"], None)
    goal = np.asarray(model.objective.predict(params, posterior.feature))
    total = 0.0
    for m, mean in zip(MODALITIES, np.asarray(belief.means), strict=True):
        for row, step in np.ndindex(goal.shape[:2]):
            if batch["available"][m.name][row, step]:
                total += np.square(mean[row, step] - goal[row, step]).sum()
    expected = total / (len(MODALITIES) * goal.shape[0] * goal.shape[1])
    np.testing.assert_allclose(metrics["loss/regression"], expected, rtol=1e-4)
