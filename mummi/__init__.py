"""MuMMI: multi-modal world models that go on working when sensors fail."""


def load_policy(logdir, *, seed: int = 0):
    """The trained agent or action head of a run, ready for somebody's own loop.

    Args:
        logdir: folder of a run of ``experiments.train`` or ``experiments.imitate``.
        seed: seed of what is drawn when acting.

    Returns:
        A ``mummi.policy.Policy``: ``policy.reset()``, ``action = policy(values, available)``,
        ``policy.modalities``.
    """
    # The environments' workers import this package for Modality alone, without JAX.
    from mummi.imitation.pilot import load_pilot
    from mummi.imitation.record import is_imitation
    from mummi.policy import Policy

    if is_imitation(logdir):
        return Policy(load_pilot(logdir)[0], None, seed)
    return Policy.load(logdir, seed=seed)
