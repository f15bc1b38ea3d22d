"""Every setting of a run, as frozen dataclasses, and the named presets."""

import dataclasses
from typing import Any, Literal

METHODS = {
    "mummi": ("poe", "each"),
    "mummi_b": ("poe", "fused"),
    "mssm_e": ("poe", "reconstruction"),
    "dreamer": ("concat", "reconstruction"),
    "cvrl": ("concat", "joint"),
}
"""Method -> fusion of the sensors (poe: product of experts, concat) and objective, a key of
``mummi.model.objectives.OBJECTIVES``."""

Preset = Literal["paper", "published", "modern", "laptop", "debug"]
Method = Literal[*METHODS]
NO_SIMULATOR = "none"
"""The task of a run that has learned from data alone."""


def check_seed(seed: int) -> None:
    """Raises a ValueError for a seed that NumPy or JAX would refuse or take for another one."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"--seed is {seed}; it must be from 0 to {2**32 - 1}")


def free(default: Any) -> Any:
    """A setting that may change between a run and its resumption."""
    return dataclasses.field(default=default, metadata={"free": True})


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """World model (MuMMI, sections III, B and C of the appendix).

    Settings of experts, of s^f as a Gaussian and of lambda^m have no effect on methods without
    them: concatenation has no experts, and reconstruction has unit variance instead of weights.

    Attributes:
        image_widths: channels of the convolutions over images and depth.
        image_kernels: their kernel sizes; a kernel equal to its stride cuts patches.
        image_strides: their strides.
        depth_input: what the encoder sees of a depth map: distance, the map as it is, or
            silhouette, with a second channel of whether anything is nearer than its far end.
            Decoders give distances either way.
        vector_widths: units of the layers over vectors.
        decoder_widths: channels that the decoder of an image or depth map starts from, and those
            after each transposed convolution but the last.
        decoder_kernels: kernel sizes of the transposed convolutions.
        decoder_strides: their strides.
        encoder_activation: activation of encoders and decoders: relu, elu or silu.
        expert_units: units of the layer between encoder and Gaussian expert; 0 for none.
        fused: size of s^f; with concatenation the size of each sensor's features.
        stoch: size of s^c.
        deter: size of h, the GRU's state.
        hidden: units inside the RSSM and of g(z).
        activation: activation of the RSSM, the heads and both towers of CVRL: relu, elu or silu.
        norm: RMSNorm before each of these activations.
        min_std: least standard deviation of experts, prior and posterior.
        fusion: precision (product of experts) or published (weights 1/std).
        sample_fused: sample s^f (true) or take the mean of the fused belief.
        posterior_sees_std: the posterior of s^c is also told the log standard deviation of s^f.
        blind_is_prior: with no sensor available the posterior of s^c is exactly its prior.
        fused_prior: learn p(s^f | s^c) of eq. 9 and add its KL.
        reward_layers: hidden layers of the reward head; 0 is linear.
        reward_units: their units.
        reward_scale: the reward head predicts the reward of a time unit times this.
        reward_weight: weight of the reward's unit-variance negative log-likelihood.
        continue_weight: weight of the continuation head's cross-entropy.
        nce_weight: weight lambda^m of each modality's InfoNCE in eq. 17, where not set below.
        nce_weights: weight lambda^m by a modality's name, or else by its kind.
        prediction: g(z): mlp (one hidden layer) or relu_layer (the public code's).
        nce: exact masks the missing candidates out; published gives them the logit -100.
        action_weight: weight of the unit-variance negative log-likelihood of the next action, the
            wanted one of a demonstrator, given s^f alone and given each sensor alone, which makes
            the sensors tell what a demonstrator looked at; 0 for none.
        kl_weight: weight of the KL of s^c.
        kl_balance: share of the KL's gradient that trains the prior; none for the plain KL.
        free_nats: the KL below this has no gradient.
        drop: probability, for each sensor of a training sequence, that a random segment of it is
            hidden on top of what is missing in the data.
        shift: images and depth maps of a training sequence are moved by up to this share of their
            height and width, each sensor's at random, edges repeated.
        hidden_targets: a sensor hidden by ``drop`` stays a target of InfoNCE.
        learning_rate: Adam's step size.
        clip: largest norm of the gradient.
    """

    image_widths: tuple[int, ...] = (32, 64, 128, 256)
    image_kernels: tuple[int, ...] = (4, 4, 4, 4)
    image_strides: tuple[int, ...] = (2, 2, 2, 2)
    depth_input: Literal["distance", "silhouette"] = "distance"
    vector_widths: tuple[int, ...] = (128, 128, 128)
    decoder_widths: tuple[int, ...] = (1024, 128, 64, 32)
    decoder_kernels: tuple[int, ...] = (5, 5, 6, 6)
    decoder_strides: tuple[int, ...] = (2, 2, 2, 2)
    encoder_activation: Literal["relu", "elu", "silu"] = "relu"
    expert_units: int = 1024
    fused: int = 1024
    stoch: int = 30
    deter: int = 200
    hidden: int = 200
    activation: Literal["relu", "elu", "silu"] = "elu"
    norm: bool = False
    min_std: float = 0.1
    fusion: Literal["precision", "published"] = "precision"
    sample_fused: bool = True
    posterior_sees_std: bool = False
    blind_is_prior: bool = False
    fused_prior: bool = True
    reward_layers: int = 2
    reward_units: int = 400
    reward_scale: float = 1.0
    reward_weight: float = 1.0
    continue_weight: float = 1.0
    nce_weight: float = 1.0
    nce_weights: dict[str, float] = dataclasses.field(default_factory=dict)
    prediction: Literal["mlp", "relu_layer"] = "mlp"
    nce: Literal["exact", "published"] = "exact"
    action_weight: float = 0.0
    kl_weight: float = 1.0
    kl_balance: float | None = None
    free_nats: float = 3.0
    drop: float = 0.0
    shift: float = 0.0
    hidden_targets: bool = True
    learning_rate: float = 6e-4
    clip: float = 100.0


@dataclasses.dataclass(frozen=True)
class BehaviorConfig:
    """Actor and critic in imagination (section A of the appendix).

    Attributes:
        horizon: imagined steps.
        starts: posterior states that imagination starts from; 0 takes all of the batch.
        discount: discount of a time unit.
        lam: lambda of the lambda-return.
        actor_layers: hidden layers of the actor.
        value_layers: hidden layers of the critic.
        units: units of both.
        actor: tanh_normal (Dreamer) or clipped_normal (mean and std bounded
            without a tanh that could saturate).
        init_std: initial std of the tanh-normal before the tanh.
        mean_scale: bound of the tanh-normal's mean before the tanh.
        min_std: least std of the actor.
        max_std: largest std of the clipped normal.
        entropy: weight of the mean log std in the actor's objective.
        cloning: weight of the log-likelihood of demonstrated actions in the actor's objective.
        normalise_returns: divide the actor's returns by max(1, P95 - P5) (DreamerV3).
        slow_critic: share of the critic that the slow critic takes an update; 0 for no slow critic.
        exploration: std of the noise added to actions while training data is collected.
        exploration_options: probability of each step, while training data is collected, that a
            random action begins, which then lasts for some steps (temporally extended ε-greedy).
        actor_rate: Adam's step size for the actor.
        value_rate: Adam's step size for the critic.
        clip: largest norm of either gradient.
    """

    horizon: int = 15
    starts: int = 0
    discount: float = 0.99
    lam: float = 0.95
    actor_layers: int = 4
    value_layers: int = 3
    units: int = 400
    actor: Literal["tanh_normal", "clipped_normal"] = "tanh_normal"
    init_std: float = 5.0
    mean_scale: float = 5.0
    min_std: float = 1e-4
    max_std: float = 1.0
    entropy: float = 0.0
    cloning: float = 0.0
    normalise_returns: bool = False
    slow_critic: float = 0.0
    exploration: float = 0.3
    exploration_options: float = 0.0
    actor_rate: float = 8e-5
    value_rate: float = 8e-5
    clip: float = 100.0


@dataclasses.dataclass(frozen=True)
class MPCConfig:
    """Latent-guided planning when acting (section A of the appendix; CVRL).

    Attributes:
        kind: none, gradient (one gradient step on the first action, as in the public code) or
            shooting (sampled plans around the policy's, reweighted by their return).
        horizon: planned steps.
        step_size: size of the gradient step.
        samples: plans of the shooting planner.
        elites: best plans that the shooting planner keeps.
        iterations: rounds of the shooting planner.
        noise: std that the shooting planner adds to the policy's actions in its first round.
        temperature: of the elites' weights, in units of their spread of returns.
    """

    kind: Literal["none", "gradient", "shooting"] = "gradient"
    horizon: int = 15
    step_size: float = 0.003
    samples: int = 64
    elites: int = 8
    iterations: int = 3
    noise: float = 0.3
    temperature: float = 0.5


@dataclasses.dataclass(frozen=True)
class Config:
    """One training run.

    Attributes:
        task: name of the task, for example walker_walk; none of a run of experiments.imitate that
            learned from data alone, without a simulator.
        method: method to train.
        preset: named set of defaults; any other flag changes one of them.
        seed: the one seed; evaluation uses seeds of its own.
        steps: environment steps (simulator control steps) to train for.
        logdir: folder of the run; by default runs/TASK/METHOD-PRESET-SEED.
        missing: sensor dropout while training: none, medium, high, published_medium,
            published_high, faults (medium, and lies now and then), or a YAML script.
        background: natural (generated clips), none, or a folder of videos or images.
        env: options that only this task has, where they differ from its own defaults; each is a
            flag --env.NAME, which --task TASK --help explains.
        envs: environments that collect in parallel, each in a worker process of its own.
        image_size: height and width of images and depth in pixels.
        action_repeat: environment steps that an action lasts.
        time_unit: environment steps that ``behavior.discount`` and ``model.reward_scale`` speak
            of. What follows for an agent step follows from the action repeat, so that another
            action repeat changes neither how far the agent looks ahead nor what it expects.
        prefill: environment steps before training, of random actions or demonstrations.
        prefill_from: random actions, or demonstrations by the task's scripted expert, whose
            actions have the agent's exploration noise added. They are kept apart from the replay.
        demonstration_share: share of each batch that is drawn from the demonstrations.
        pretrain: updates that what the prefill recorded is worth, on top of those below.
        updates_per_1000: updates of the agent for every 1,000 environment steps.
        batch_size: sequences in a batch.
        batch_length: steps of a sequence.
        recent_share: share of the sequences of a batch that start in the newest steps of the
            replay, which show the world model where the actor of today is wrong; the others start
            anywhere. Demonstrations are drawn evenly.
        recent_steps: environment steps that are the newest.
        average: decay, an update, of the running mean of the parameters, which is what is evaluated
            and deployed; 0 for the last parameters. Training acts with the last ones.
        replay_capacity: agent steps that the replay keeps, as files.
        replay_memory: GiB of the newest that it also holds in memory; older steps are read from
            the files. As much again is for demonstrations; each process has its own.
        replay_device: also hold the whole replay in the memory of the device, and draw batches
            there: auto does so where it takes at most half of an accelerator's.
        updates_per_call: updates that are made in one call, on batches drawn at once; 0 for one
            on a CPU and four on an accelerator. Acting has the parameters after the last of them.
        evaluate_every: environment steps between evaluations; 0 for none.
        evaluate_episodes: episodes of each evaluation; 0 for none.
        trust: evaluations leave out sensors that lie, by thresholds that each of them measures.
        logger: where metrics and films go, beside metrics.jsonl and videos/: TensorBoard, or
            wandb, too (Weights & Biases, which has to be installed).
        log_every: environment steps between two log entries.
        checkpoint_every: seconds between two checkpoints.
        bfloat16: compute layers in bfloat16: auto does so on accelerators.
        devices: devices of each process that share every batch; 0 for one CPU, or for as many
            accelerators as divide the batch.
        coordinator: HOST:PORT of the first of several processes, which share every batch and have
            environments and a replay each; auto where a cluster such as Slurm tells it.
        processes: how many there are; each has the same settings, but for --process.
        process: which of them this is, from 0 on; the first writes checkpoints and metrics.
    """

    task: str = "walker_walk"
    method: Method = "mummi"
    preset: Preset = "paper"
    seed: int = 0
    steps: int = free(2_000_000)
    logdir: str = free("")
    missing: str = "medium"
    background: str = "natural"
    env: dict[str, object] = dataclasses.field(default_factory=dict)
    envs: int = free(1)
    image_size: int = 64
    action_repeat: int = 2
    time_unit: int = 2
    prefill: int = 5_000
    prefill_from: Literal["random", "demonstrations"] = "random"
    demonstration_share: float = 0.5
    pretrain: int = 0
    updates_per_1000: float = 100.0
    batch_size: int = 50
    batch_length: int = 50
    recent_share: float = 0.0
    recent_steps: int = 10_000
    average: float = 0.0
    replay_capacity: int = 500_000
    replay_memory: float = free(8.0)
    replay_device: Literal["auto", "on", "off"] = free("auto")
    updates_per_call: int = free(0)
    evaluate_every: int = free(20_000)
    evaluate_episodes: int = free(10)
    trust: Literal["on", "off"] = free("off")
    logger: Literal["tensorboard", "wandb"] = free("tensorboard")
    log_every: int = free(2_000)
    checkpoint_every: float = free(60.0)
    bfloat16: Literal["auto", "on", "off"] = free("auto")
    devices: int = free(0)
    coordinator: str = free("")
    processes: int = free(1)
    process: int = free(0)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    behavior: BehaviorConfig = dataclasses.field(default_factory=BehaviorConfig)
    mpc: MPCConfig = dataclasses.field(default_factory=MPCConfig)

    def __post_init__(self):
        check_seed(self.seed)
        for name in ("action_repeat", "time_unit"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if self.evaluate_episodes < 0:
            raise ValueError(f"evaluate_episodes is {self.evaluate_episodes}; 0 is for none")

    @property
    def pace(self) -> float:
        """Time units that an agent step lasts."""
        return self.action_repeat / self.time_unit
