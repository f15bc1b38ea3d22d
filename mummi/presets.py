"""Named presets: complete sets of defaults, by task where the task matters."""

import dataclasses
from dataclasses import replace

from mummi.config import NO_SIMULATOR, BehaviorConfig, Config, ModelConfig, MPCConfig

# Height and width of the pictures, pixels, of tasks with small objects in large ones, whose every
# control step is an action.
_MANIPULATION = {"libero": 128, "metaworld": 128, "robomimic": 84, "pusht": 96}
# Size of the pictures, pixels, to widths, kernels and strides of the paper's decoder where that
# needs others, and to kernels, which are the strides, of the laptop's encoder.
_DECODERS = {
    128: ((1024, 128, 64, 32, 16), (5, 5, 6, 6, 2), (2, 2, 2, 2, 2)),
    96: ((1024, 128, 64, 32), (5, 5, 7, 6), (2, 2, 2, 3)),
    84: ((1024, 128, 64, 32), (5, 5, 3, 6), (2, 2, 2, 3)),
}
_PATCHES = {128: (16, 2, 2), 96: (8, 3, 2), 84: (7, 3, 2), 64: (8, 2, 2), 32: (4, 2, 2)}


def _picture(task: str) -> int | None:
    """Height and width of the pictures of one of ``_MANIPULATION``; None of another task."""
    return next((size for name, size in _MANIPULATION.items() if task.startswith(name)), None)


def preset(name: str, task: str) -> Config:
    """The settings of preset ``name`` for ``task``.

    Raises:
        ValueError: no such preset.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; presets are {', '.join(PRESETS)}")
    return replace(PRESETS[name](task), task=task, preset=name)


def offline(name: str, task: str) -> Config:
    """The preset for a world model that learns from demonstrations alone.

    The sensors are also to tell the demonstrator's next action: no reward says what matters there,
    and InfoNCE is content with whatever tells moments apart. Pictures are shifted at random, for
    demonstrations are few. The papers' presets stay as they are.
    """
    config = preset(name, task)
    if name in ("paper", "published"):
        return config
    model = replace(config.model, action_weight=10.0, shift=1 / 16)
    return replace(config, model=model)


def paper(task: str) -> Config:
    """The paper's text; where it is silent, the public code's sizes and rates."""
    if task.removeprefix("dmc_") == "table_wiping":
        return Config(model=ModelConfig(fused=256))
    if size := _picture(task):
        widths, kernels, strides = _DECODERS[size]
        model = ModelConfig(
            fused=256, decoder_widths=widths, decoder_kernels=kernels, decoder_strides=strides
        )
        return Config(image_size=size, action_repeat=1, time_unit=1, model=model)
    if task == NO_SIMULATOR:
        return Config(action_repeat=1, time_unit=1)
    return Config()


def published(task: str) -> Config:
    """The paper's public code where it differs from the text."""
    config = paper(task)
    model = replace(
        config.model,
        fusion="published",
        sample_fused=False,
        fused_prior=False,
        prediction="relu_layer",
        nce="published",
        nce_weights={"vector": 0.001},
    )
    return replace(config, model=model, missing="published_medium")


_ROBUST_BEHAVIOR = {
    "actor": "clipped_normal",
    "min_std": 0.1,
    "entropy": 3e-3,
    "normalise_returns": True,
    "slow_critic": 0.02,
    "exploration": 0.1,
    "exploration_options": 0.03,
}
_ROBUST_MODEL = {
    "fused_prior": False,
    "kl_balance": 0.8,
    "free_nats": 1.0,
    "posterior_sees_std": True,
    "sample_fused": False,
    "blind_is_prior": True,
    "reward_weight": 100.0,
}


# Of Table Wiping: a step may earn ten times what one earns elsewhere, and with the weight of 100
# the reward drowns the contrast of the pictures, so that the latents know neither tool nor dirt;
# and a random action that lasts drives the arm into the table, which ends the episode.
_WIPING_MODEL = {"reward_weight": 2.0}
_WIPING_BEHAVIOR = {"exploration_options": 0.0}


# Of Natural MuJoCo: there a depth of 1 means that nothing is there, and what cannot be predicted,
# such as the moving background, must cost more in the latent state.
_NATURAL_MODEL = {"depth_input": "silhouette", "kl_weight": 3.0}
_NATURAL = ("walker", "finger", "cup")


def _robust(task: str) -> tuple[dict, dict]:
    """Options of world model and behaviour that were measured to be needed, and for the task."""
    task = task.removeprefix("dmc_")
    if task == "table_wiping":
        return _ROBUST_MODEL | _WIPING_MODEL, _ROBUST_BEHAVIOR | _WIPING_BEHAVIOR
    if task.startswith(_NATURAL):
        return _ROBUST_MODEL | _NATURAL_MODEL, _ROBUST_BEHAVIOR
    return _ROBUST_MODEL, _ROBUST_BEHAVIOR


def _recent(task: str) -> float:
    """Share of a batch from the newest steps, where it was measured to be needed."""
    return 0.5 if task.removeprefix("dmc_").startswith(_NATURAL) else 0.0


def modern(task: str) -> Config:
    """Paper sizes with the options that the laptop preset was measured to need."""
    config = paper(task)
    model, behavior = _robust(task)
    return replace(
        config,
        model=replace(config.model, **model, reward_scale=1 / config.time_unit),
        behavior=replace(config.behavior, **behavior),
        mpc=MPCConfig("none"),
        recent_share=_recent(task),
        average=0.999,
    )


def laptop(task: str) -> Config:
    """Learns in an hour of a CPU core: small pictures and networks, bounded actor, slow critic."""
    robust_model, robust_behavior = _robust(task)
    task = task.removeprefix("dmc_")
    walker, natural = task.startswith("walker"), task.startswith(_NATURAL)
    picture = _picture(task)
    repeat = 4 if walker else 1 if picture or task == NO_SIMULATOR else 2
    # At 32 pixels the ball and a piece of dirt are one or two pixels and often between them.
    fine = ("cup_catch", "table_wiping", NO_SIMULATOR)
    image_size = picture or (64 if task in fine else 32)
    patches = _PATCHES[image_size]
    model = ModelConfig(
        image_widths=(16, 32, 64),
        image_kernels=patches,
        image_strides=patches,
        vector_widths=(64, 64),
        decoder_widths=(64, 32, 16),
        decoder_kernels=patches[::-1],
        decoder_strides=patches[::-1],
        encoder_activation="elu",
        expert_units=0,
        fused=64,
        deter=128,
        hidden=128,
        reward_layers=1,
        reward_units=128,
        reward_scale=1 / repeat,
        learning_rate=1e-3,
        **robust_model,
    )
    behavior = BehaviorConfig(
        horizon=12,
        starts=128,
        discount=0.97 if walker else 0.98,
        actor_layers=3,
        value_layers=3,
        units=128,
        actor_rate=1e-3 if natural else 3e-4,
        value_rate=1.5e-3 if natural else 5e-4,
        **robust_behavior,
    )
    return Config(
        # An hour of one core.
        steps=800_000 if walker else 500_000 if natural else 400_000,
        image_size=image_size,
        action_repeat=repeat,
        time_unit=repeat,
        prefill=5_000,
        updates_per_1000=40.0 if walker else 60.0,
        batch_size=16,
        batch_length=24,
        recent_share=_recent(task),
        average=0.999,
        evaluate_every=50_000,
        model=model,
        behavior=behavior,
        mpc=MPCConfig("none"),
    )


def debug(task: str) -> Config:
    """Seconds: the laptop preset with tiny networks and short schedules."""
    config = laptop(task)
    return dataclasses.replace(
        config,
        steps=4_000,
        image_size=16,
        prefill=1_000,
        updates_per_1000=2.0,
        batch_size=4,
        batch_length=8,
        evaluate_every=2_000,
        evaluate_episodes=1,
        log_every=1_000,
        model=replace(
            config.model, image_widths=(4,), image_kernels=(4,), image_strides=(4,),
            vector_widths=(8,), decoder_widths=(4,), decoder_kernels=(4,), decoder_strides=(4,),
            fused=16, deter=16, stoch=4, hidden=16,
        ),
        behavior=replace(
            config.behavior, horizon=3, starts=8, units=16, actor_layers=1, value_layers=1,
        ),
    )  # fmt: skip


PRESETS = {
    "paper": paper,
    "published": published,
    "modern": modern,
    "laptop": laptop,
    "debug": debug,
}

WINDOWS = {"paper": 2_560_000, "laptop": 128_000, "debug": 24}
"""Windows of demonstrations that a head which trains by gradient sees, by preset: batch after
batch, and whatever the head, so that no head is compared with one that was trained longer."""

CHUNKS = {
    "laptop": {
        "observe": 2, "predict": 8, "execute": 2, "width": 128, "blocks": 2, "heads": 4,
        "features": 32, "unet_widths": (32, 64), "windows": WINDOWS["laptop"], "batch": 32,
        "learning_rate": 1e-3, "warmup": 100, "prediction": "sample",
        "calibrate": "nearest", "momentum": 0.5, "most_threshold": 1.0,
        "pictures": "cnn", "image_width": 32, "shift": 1 / 16,
    },
    "debug": {
        "observe": 2, "predict": 4, "execute": 2, "width": 16, "blocks": 1, "heads": 2,
        "features": 8, "unet_widths": (8,), "windows": WINDOWS["debug"], "batch": 8, "samples": 3,
        "steps": 2, "noise_steps": 4, "prediction": "sample", "calibrate": "nearest",
        "momentum": 0.5, "most_threshold": 1.0, "pictures": "cnn", "image_width": 8,
    },
}  # fmt: skip
"""Settings of chunk heads by preset, of each objective those that it has; the others' are the
papers', for a graphics card. These train on a CPU in minutes and seconds."""
