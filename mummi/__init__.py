"""MuMMI: multi-modal world models that go on working when sensors fail."""


def load_policy(logdir, *, seed: int = 0):
    """The trained agent of a run, ready for somebody's own loop.

    Args:
        logdir: folder of a run of ``experiments.train``.
        seed: seed of the latent samples.

    Returns:
        A ``mummi.agent.Policy``: ``policy.reset()``, ``action = policy(values, available)``,
        ``policy.modalities``.
    """
    # The environments' workers import this package for Modality alone, without JAX.
    from mummi.agent import Policy

    return Policy.load(logdir, seed=seed)
