"""Retrieval of demonstrations as an action head (RL4IL, section 3.2.6)."""

import dataclasses
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Array

from mummi.imitation.heads.head import Percept, Report, Sizes, Trajectory, no_report
from mummi.imitation.heads.replay import Recordings
from mummi.imitation.retrieval import Retrieval, RetrievalConfig

MOMENT = "moment.step"
"""What stands beside the sensors in closed loop; no modality can have this name."""


@dataclasses.dataclass(frozen=True)
class RetrievalHeadConfig:
    """Retrieval of demonstrations by what each sensor says.

    In open loop the query is the first observation of an episode, the library holds the first
    observations of the demonstrations, and the retrieved action sequence is played to its end.

    In closed loop, which the paper does not have, the library holds every ``research_every``-th
    step of the demonstrations, and what is played are the actions from that step on. The step of
    the episode counts as one more sensor, so that what is found was done at about the same moment.

    Attributes:
        research_every: steps between two retrievals; 0 retrieves once, at the start.
        play: selected (the recorded actions of the demonstration that the fusion head attends to
            most, or that is ranked first where selection is hard) or fused (the action sequence
            that the fusion head predicts; for the task regression).
        retrieval: settings of the library. Its task says what the labels are: regression for the
            action sequences, of each demonstration once; classification for the identity of the
            demonstration, which its copies with sensors failing share. Its seed is joined with
            that of ``fit``.
    """

    research_every: int = 0
    play: Literal["selected", "fused"] = "selected"
    retrieval: RetrievalConfig = dataclasses.field(
        default_factory=lambda: RetrievalConfig(task="regression")
    )

    def __post_init__(self):
        if self.research_every < 0:
            raise ValueError(
                f"research_every {self.research_every} must be a number of steps, or 0 for open "
                "loop"
            )
        if self.play == "fused" and self.retrieval.task == "classification":
            raise ValueError("play fused needs the task regression: classes cannot be mixed")


class Plan(NamedTuple):
    """What each robot plays.

    Attributes:
        actions: a sequence each, [B, L, A], the last of its actions zero.
        played: how many of them it has played, int [B].
        moment: step of its episode, int [B].
    """

    actions: np.ndarray
    played: np.ndarray
    moment: np.ndarray


class RetrievalHead:
    """Head ``retrieval``; a ``Head``.

    Attributes:
        retrieval: the fitted library.
    """

    def __init__(self, config: RetrievalHeadConfig, sizes: Sizes):
        self.config = config
        self._names = tuple(sizes.embeddings)
        self._action_size = sizes.action

    def fit(
        self,
        trajectories: Sequence[Trajectory],
        seed: int,
        report: Report = no_report,
        held_out: Sequence[Trajectory] = (),
    ) -> None:
        """Trains the library's policies and heads; reports their epochs one after the other.

        Raises:
            ValueError: fewer than four demonstrations.
        """
        settings = self.config.retrieval
        if settings.task == "regression":
            # Of copies the first: with its own copy among the candidates, ranking is trivial.
            trajectories = {t.action.tobytes(): t for t in reversed(trajectories)}.values()
        starts = [(t, s) for t in trajectories for s in self._searches(len(t.action))]
        end = self.config.research_every or None
        sequences = [t.action[s:][:end] if end else t.recording for t, s in starts]
        self._recordings = Recordings(sequences)
        labels = self._recordings.padded
        if settings.task == "classification":
            first: dict[bytes, int] = {}
            labels = np.array([first.setdefault(a.tobytes(), i) for i, a in enumerate(sequences)])
        rows = [(t.percept.embeddings, t.percept.available, s) for t, s in starts]
        embeddings = {name: np.stack([e[name][s] for e, _, s in rows]) for name in self._names}
        available = {name: np.array([a[name][s] for _, a, s in rows]) for name in self._names}
        moment = np.array([s for _, s in starts])
        seed = int(np.random.SeedSequence((settings.seed, seed)).generate_state(1)[0])
        self.retrieval = Retrieval(dataclasses.replace(settings, seed=seed))
        self.retrieval.fit(**self._query(embeddings, available, moment), labels=labels)
        for stage, parts in self.retrieval.history.items():
            for part, epochs in parts.items():
                for epoch, metrics in enumerate(epochs):
                    report(epoch, {f"{stage}/{part}/{name}": x for name, x in metrics.items()})

    def reset(self, batch: int) -> Plan:
        """Nothing is played before the first step."""
        shape = (batch, self._recordings.padded.shape[1], self._action_size)
        start = np.zeros(batch, int)
        return Plan(actions=np.zeros(shape, np.float32), played=start, moment=start)

    def act(self, carry: Plan, percept: Percept, is_first, key: Array) -> tuple[np.ndarray, Plan]:
        """The next action [B, A] of what each robot plays; zeros past its end."""
        actions, played, moment = carry
        moment = np.where(is_first, 0, moment)
        search = np.asarray(is_first)
        if self.config.research_every:
            search = search | (played >= self.config.research_every)
        if search.any():
            # All robots ask, also those whose answer is not used, so that the shape is always one.
            embeddings = {name: np.asarray(percept.embeddings[name]) for name in self._names}
            available = {name: np.asarray(percept.available[name]) for name in self._names}
            found = self._retrieve(self._query(embeddings, available, moment))
            actions = np.where(search[:, None, None], found, actions)
            played = np.where(search, 0, played)
        now = np.minimum(played, actions.shape[1] - 1)
        carry = Plan(actions=actions, played=played + 1, moment=moment + 1)
        return actions[np.arange(len(now)), now], carry

    def arrays(self) -> dict[str, np.ndarray]:
        """The recordings, and the bytes of the library's file."""
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "library.npz"
            self.retrieval.save(path)
            library = np.frombuffer(path.read_bytes(), np.uint8)
        return {"library": library, **self._recordings.arrays()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes what ``arrays`` gave."""
        self._recordings = Recordings.of(arrays)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "library.npz"
            path.write_bytes(arrays["library"].tobytes())
            self.retrieval = Retrieval.load(path)

    def _searches(self, length: int) -> range:
        """Steps of a demonstration that the library holds."""
        return range(0, length, self.config.research_every or length)

    def _query(self, embeddings, available, moment) -> dict[str, dict[str, np.ndarray]]:
        """Arguments of the library; in closed loop the step of the episode is one of them."""
        if self.config.research_every:
            embeddings = embeddings | {MOMENT: moment[:, None].astype(np.float64)}
        return {"embeddings": embeddings, "available": available}

    def _retrieve(self, query) -> np.ndarray:
        """The action sequence [B, L, A] to play."""
        if self.config.play == "fused":
            return self.retrieval.predict(**query).astype(np.float32)
        if self.config.retrieval.task == "classification":
            labels = self.retrieval.predict(**query)
            return self._recordings.padded[labels]
        found = self.retrieval.retrieve(**query)
        best = found.weights.argmax(1)[:, None]
        return self._recordings.padded[np.take_along_axis(found.nodes, best, 1)[:, 0]]
