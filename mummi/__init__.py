"""MuMMI: multi-modal world models that go on working when sensors fail."""

from mummi import pretrained as pretrained


def load_policy(logdir, *, seed: int = 0, trust: bool = False):
    """The trained agent or action head of a run, ready for somebody's own loop.

    Args:
        logdir: folder of a run of ``experiments.train`` or ``experiments.imitate``, or
            ``pretrained:NAME``, one of ``mummi.pretrained.names()``.
        seed: seed of what is drawn when acting.
        trust: leave out sensors that lie, by the thresholds that ``experiments.evaluate --trust
            on`` has measured for its last checkpoint.

    Returns:
        A ``mummi.policy.Policy``: ``policy.reset()``, ``action = policy(values, available)``,
        ``policy.modalities``, and ``policy.trust``, how far each sensor was believed.

    Raises:
        FileNotFoundError: there is no run, or it has no checkpoint yet, or no thresholds.
        ValueError: trust in a run whose sensors nothing can be held against, or no pretrained agent
            of that name.
    """
    # The environments' workers import this package for Modality alone, without JAX.
    from mummi.imitation.pilot import load_pilot
    from mummi.imitation.record import is_imitation
    from mummi.policy import Policy
    from mummi.pretrained import folder

    logdir = folder(logdir)
    if is_imitation(logdir):
        pilot, step = load_pilot(logdir, trust=trust)
        return Policy(pilot, None, seed, step)
    return Policy.load(logdir, seed=seed, trust=trust)


def train(config, environments, evaluate=None, script=None):
    """Trains or resumes a run, as ``experiments.train`` does; returns its folder.

    Args:
        config: a ``mummi.config.Config``, for example ``mummi.presets.preset("laptop", "robot")``.
            ``envs`` and ``action_repeat`` are those of the environments, and other settings of the
            task are only recorded. The folder is by default ``runs/TASK/METHOD-PRESET-SEED``.
        environments: environments that step together, with the members of
            ``mummi.training.environments.Environments``.
        evaluate: ``evaluate(agent, parameters)`` returns scores to log, by name; called every
            ``config.evaluate_every`` steps.
        script: the sensor dropout in these environments, for the record; plain dictionaries.

    Raises:
        ValueError: settings that contradict each other, no expert where one is to demonstrate, or
            the folder holds something else, a run with other settings, or is in use.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after a checkpoint.
        FloatingPointError: training diverged.
    """
    from mummi.training.trainer import train

    return train(config, environments, evaluate, script)
