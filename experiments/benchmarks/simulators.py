"""One step of each environment against its own limit: physics and one render, or robosuite."""

from typing import Any

import numpy as np

import envs
from envs.processes.parallel import ParallelEnvironments
from experiments.benchmarks.timing import Row, fastest, in_turn
from mummi.config import Config


def environment_rows(config: Config, repeats: int, steps: int = 100) -> list[Row]:
    """One environment step against its physics and one render, and two workers against one.

    Args:
        config: settings of the environment.
        repeats: runs of each.
        steps: agent steps of a run.

    Raises:
        ValueError: the task has no raw physics to compare with.
    """
    if config.task == "table_wiping":
        return wiping_rows(config, repeats)
    if config.task.startswith("libero"):
        return libero_rows(config, repeats)
    if config.task.startswith("metaworld"):
        return metaworld_rows(config, repeats)
    from envs.natural_mujoco.tasks import TASKS
    from envs.rendering.renderer import Renderer, mujoco

    if config.task not in TASKS:
        raise ValueError(f"the stage env knows the tasks {', '.join(TASKS)}, not {config.task!r}")
    domain, make_task = TASKS[config.task]
    task = make_task(np.random.RandomState(0))
    physics = domain.suite.Physics.from_xml_string(*domain.suite.get_model_and_assets())
    model, data = physics.model.ptr, physics.data.ptr
    substeps = config.action_repeat * round(domain.control_timestep / model.opt.timestep)
    renderer = Renderer(model, domain.camera, config.image_size)
    options = {
        "image_size": config.image_size,
        "background": config.background,
        "action_repeat": config.action_repeat,
    }
    environment = envs.make(config.task, **options)
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, environment.action_size))

    def reset():
        environment.reset()
        with physics.reset_context():
            task.initialize_episode(physics)

    def full():
        for action in actions:
            environment.step(action)

    def raw():
        for action in actions:
            data.ctrl[:] = action
            mujoco.mj_step(model, data, substeps)
            renderer.body(data)

    step, limit = fastest(repeats, full, raw, prepare=reset)
    environment.close()
    renderer.close()
    meaning = "time / (physics + one render)"
    ratios = (step.wall / limit.wall, step.cpu / limit.cpu)
    rate, cpu = steps / step.wall, step.cpu / steps
    rows = [Row("env", rate, "agent steps", meaning, "<= 1.5", *ratios, cpu=cpu)]

    with (
        ParallelEnvironments(config.task, [0], **options) as one,
        ParallelEnvironments(config.task, [1, 2], **options) as two,
    ):

        def run(workers):
            for action in actions:
                workers.step(np.tile(action, (len(workers), 1)))

        # Medians: the least of one worker is a lucky episode, that of two needs two at a time.
        costs = in_turn(
            4 * repeats,
            lambda: run(one),
            lambda: run(two),
            prepare=lambda: (one.reset(), two.reset()),
        )
    single, double = (np.array([cost.wall for cost in runs]) for runs in costs)
    gain, rate = 2 * np.median(single / double), 2 * steps / np.median(double)
    meaning = "throughput of two workers / of one"
    return [*rows, Row("env", float(rate), "agent steps", meaning, ">= 1.8", float(gain))]


def wiping_rows(config: Config, repeats: int) -> list[Row]:
    """Table Wiping; as ``simulator_rows``."""
    from envs.robosuite import load_controller_config
    from envs.table_wiping.scene import ROBOT, WORKSPACE
    from envs.table_wiping.simulator import TableSimulator, Wipe

    environment = envs.make(
        config.task, image_size=config.image_size, action_repeat=1, **config.env
    )
    seed = np.random.SeedSequence(0)
    physics = TableSimulator(1000, True, seed)
    original = Wipe(
        "Panda",
        controller_configs=load_controller_config(default_controller="OSC_POSE"),
        camera_names=[WORKSPACE, ROBOT],
        camera_heights=config.image_size,
        camera_widths=config.image_size,
        hard_reset=False,
        ignore_done=True,
    )

    def reset():
        environment.reset()
        physics.reset_to(seed)
        original.reset()

    worlds = environment, physics, original
    rows = simulator_rows(worlds, lambda: _current(original.sim), reset, "robosuite's", repeats)
    original.close()
    return rows


def libero_rows(config: Config, repeats: int) -> list[Row]:
    """A task of LIBERO, of a suite the first; as ``simulator_rows``."""
    from envs.libero.simulator import LiberoSimulator, suite_tasks

    # LIBERO's import needs what envs.libero.simulator arranges.
    from libero.libero.envs import OffScreenRenderEnv  # isort: skip

    suite, _, index = config.task.partition("/")
    task = suite_tasks(suite)[int(index or 0)]
    settings = {"image_size": config.image_size, "action_repeat": 1, **config.env}
    environment = envs.make(f"{suite}/{task.index}", **settings)
    physics = LiberoSimulator(task)
    original = OffScreenRenderEnv(
        bddl_file_name=str(task.bddl),
        camera_heights=config.image_size,
        camera_widths=config.image_size,
        hard_reset=False,
    )

    def reset():
        environment.reset()
        physics.reset_to(0, np.random.SeedSequence(0))
        original.reset()

    worlds = environment, physics, original
    rows = simulator_rows(worlds, lambda: _current(original.env.sim), reset, "LIBERO's", repeats)
    original.close()
    return rows


def _current(simulation) -> None:
    # robosuite draws in whatever context is current: the environment's cheap one, if let.
    simulation._render_context_offscreen.gl_ctx.make_current()


class _Drawn:
    """MetaWorld's task with both pictures by MuJoCo's own renderer, as its models ask for them."""

    def __init__(self, task: str, horizon: int, size: int):
        from envs.metaworld.simulator import MetaworldSimulator

        import mujoco  # isort: skip  (once the environment has chosen its backend)

        self.simulator = MetaworldSimulator(task, horizon)
        self.renderer = mujoco.Renderer(self.simulator.model, size, size)

    def step(self, action):
        """Takes one control step and draws."""
        from envs.metaworld.scene import CORNER, WRIST

        self.simulator.step(action)
        for camera in (CORNER, WRIST):
            self.renderer.update_scene(self.simulator.data, camera)
            self.renderer.render()


def metaworld_rows(config: Config, repeats: int) -> list[Row]:
    """A task of MetaWorld, of a group the first; as ``simulator_rows``."""
    from envs.metaworld.catalogue import tasks_of
    from envs.metaworld.simulator import MetaworldSimulator
    from envs.metaworld.tasks import HORIZON

    task = tasks_of(config.task)[0]
    settings = {"image_size": config.image_size, "action_repeat": 1, **config.env}
    environment = envs.make(f"metaworld/{task}", **settings)
    physics = MetaworldSimulator(task, HORIZON)
    original = _Drawn(task, HORIZON, config.image_size)

    def reset():
        environment.reset(0)
        for simulator in (physics, original.simulator):
            simulator.reset_to(np.random.SeedSequence(0))

    worlds = environment, physics, original
    rows = simulator_rows(worlds, lambda: None, reset, "MetaWorld's", repeats)
    original.renderer.close()
    return rows


def simulator_rows(
    worlds: tuple[Any, Any, Any], begin, reset, whose: str, repeats: int, steps: int = 20
) -> list[Row]:
    """One control step with both pictures against its physics and against default rendering.

    Args:
        worlds: the environment, which is closed, its physics alone, and the original with its
            rendering; each has ``step``.
        begin: called before the steps of a run.
        reset: begins an episode in each.
        whose: the original, for the table.
        repeats: runs of each.
        steps: control steps of a run.
    """
    environment = worlds[0]
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, environment.action_size))

    def run(world):
        begin()
        for action in actions:
            world.step(action)

    runs = [lambda w=world: run(w) for world in worlds]
    reset()
    for once in runs:
        once()  # robosuite compiles its kernels at the first steps of a process
    step, raw, default = fastest(repeats, *runs, prepare=reset)
    environment.close()
    rows = []
    for name, limit in (("physics", raw), ("default rendering", default)):
        milliseconds = [f"{1000 * cost.cpu / steps:.1f}" for cost in (step, limit)]
        meaning = f"time / {whose} {name}: {' / '.join(milliseconds)} CPU ms"
        ratios = step.wall / limit.wall, step.cpu / limit.cpu
        rate, cpu = steps / step.wall, step.cpu / steps
        rows.append(Row("env", rate, "control steps", meaning, "", *ratios, cpu=cpu))
    return rows
