"""Retrieval of demonstrations as an action head (RL4IL, section 3.2.6)."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Array, Float

from mummi.imitation.heads import outcomes
from mummi.imitation.heads.alignment import Alignment, aligned, events
from mummi.imitation.heads.head import Percept, Report, Sizes, Trajectory, no_report
from mummi.imitation.heads.replay import Recordings, Told, draw
from mummi.imitation.retrieval import Retrieval, RetrievalConfig, StageConfig
from mummi.imitation.retrieval.estimator import part
from mummi.imitation.retrieval.labels import at_events, event_steps, knots, moved, padded

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
        play: selected (the recorded actions of one demonstration) or fused (the action sequence
            that the fusion head predicts; for the label actions).
        select: which demonstration is played: policy (the one that it ranks first), prediction (of
            the best candidates the one whose label is nearest to what the fusion head predicts),
            attention (that to which it attends most), or random (drawn among those of the same
            instruction, the control of align). Of policy no fusion head is trained, of random
            neither policy nor head.
        label: what demonstrations are compared by, in reward and fusion head: path (of the hand,
            at 32 points of the demonstration's own length), events (where the hand was when the
            gripper closed and when it opened), or actions (those that were wanted, padded with
            zeros). By default path in open loop and actions, which alone have a meaning there, in
            closed loop or where the fused ones are played.
        hand: sensor whose values are the position of the hand, as ee_pos; by default positions are
            sums of the executed actions.
        moves: how many of the first numbers of an action displace the hand.
        align: lead the demonstration's hand to where the events are to be expected from this start,
            learned from pairs of demonstrations of the same instruction; for actions that are
            displacements, in open loop.
        success: file of experiments.replays with every demonstration replayed from the start of
            each: the policy is rewarded for choosing those that succeed, in open loop.
        retrieval: settings of the library. Its task says what the labels are: regression for
            ``label``, of each demonstration once; classification for the identity of the
            demonstration, which its copies with sensors failing share. Its seed is joined with
            that of ``fit``.
    """

    research_every: int = 0
    play: Literal["selected", "fused"] = "selected"
    select: Literal["policy", "prediction", "attention", "random"] = "policy"
    label: Literal["path", "events", "actions"] | None = None
    hand: str = ""
    moves: int = 3
    align: bool = False
    success: str = ""
    retrieval: RetrievalConfig = dataclasses.field(
        default_factory=lambda: RetrievalConfig(task="regression")
    )

    def __post_init__(self):
        if self.research_every < 0 or self.moves < 1:
            raise ValueError(
                f"research_every {self.research_every} must be a number of steps, or 0 for open "
                f"loop, and moves {self.moves} at least 1"
            )
        classes = self.retrieval.task == "classification"
        if self.play == "fused" and classes:
            raise ValueError("play fused needs the task regression: classes cannot be mixed")
        if classes and self.label:
            raise ValueError(
                f"label {self.label} is for the task regression; those of classification are the "
                "demonstrations themselves"
            )
        if self.label in ("path", "events") and (self.research_every or self.play == "fused"):
            raise ValueError(
                f"label {self.label} is of whole demonstrations; in closed loop, or to play fused "
                "actions, the label is actions"
            )
        if self.research_every and (self.align or self.success):
            raise ValueError(
                f"align {self.align} and success {self.success!r} are for whole demonstrations; "
                "leave them out, or research_every"
            )
        if self.select == "random" and not self.align:
            raise ValueError("select random without align is the head replay: choose that")
        if self.play == "fused" and (self.align or self.select != "policy"):
            raise ValueError("play fused plays no one demonstration: leave align and select out")

    @property
    def labels(self) -> str:
        """The label, or the default one."""
        closed = self.research_every or self.play == "fused"
        return self.label or ("actions" if closed else "path")


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
        self._tell = Told(sizes.modalities)
        sensors = tuple(m.name for m in sizes.modalities)
        if config.hand and config.hand not in sensors:
            raise ValueError(
                f"--head.hand {config.hand!r} is none of the sensors {', '.join(sensors)}"
            )

    def fit(
        self,
        trajectories: Sequence[Trajectory],
        seed: int,
        report: Report = no_report,
        held_out: Sequence[Trajectory] = (),
    ) -> None:
        """Trains the library's policies and heads; reports their epochs one after the other.

        Raises:
            ValueError: fewer than four demonstrations; the sensor of the hand is missing in one;
                or from the starts of some no replays are known.
            FileNotFoundError: there is no file of replays.
        """
        config, settings = self.config, self.config.retrieval
        if settings.task == "regression":
            # Of copies the first: with its own copy among the candidates, ranking is trivial.
            seen: dict[bytes, Trajectory] = {}
            for t in trajectories:
                seen.setdefault(t.action.tobytes(), t)
            trajectories = list(seen.values())
        starts = [(t, s) for t in trajectories for s in self._searches(len(t.action))]
        end = config.research_every or None
        wanted = [t.action[s:][:end] for t, s in starts]
        self._recordings = Recordings(wanted if end else [t.recording for t in trajectories])
        self._told = np.stack([self._tell(t.percept)[0] for t in trajectories])
        rows = [(t.percept.embeddings, t.percept.available, s) for t, s in starts]
        embeddings = {name: np.stack([e[name][s] for e, _, s in rows]) for name in self._names}
        available = {name: np.array([a[name][s] for _, a, s in rows]) for name in self._names}
        moment = np.array([s for _, s in starts])
        losses = None
        if config.success:
            executed = [t.recording for t in trajectories]
            losses = outcomes.failures(outcomes.read(config.success), executed)
        seed = int(np.random.SeedSequence((settings.seed, seed)).generate_state(1)[0])
        changes: dict = {"seed": seed}
        if config.select == "random":
            changes["prediction"] = StageConfig(ranking="distance", selection="hard")
        elif config.select == "policy" and config.play == "selected":
            # What is played is the first of the ranking: no head is asked.
            changes["prediction"] = dataclasses.replace(settings.prediction, selection="hard")
        self.retrieval = Retrieval(dataclasses.replace(settings, **changes)).fit(
            **self._query(embeddings, available, moment),
            labels=self._labels(trajectories, wanted),
            always=[*self._tell.names, *[MOMENT] * bool(end)],
            losses=losses,
        )
        for stage, parts in self.retrieval.history.items():
            for name, epochs in parts.items():
                for epoch, metrics in enumerate(epochs):
                    report(epoch, {f"{stage}/{name}/{key}": x for key, x in metrics.items()})
        if config.align:
            self._fit_alignment(trajectories, seed, report)

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
            found = self._retrieve(percept, moment, key)
            actions = np.where(search[:, None, None], found, actions)
            played = np.where(search, 0, played)
        now = np.minimum(played, actions.shape[1] - 1)
        carry = Plan(actions=actions, played=played + 1, moment=moment + 1)
        return actions[np.arange(len(now)), now], carry

    def arrays(self) -> dict[str, np.ndarray]:
        """The recordings, what was told, the library, and what aligns."""
        arrays = {"told": self._told, **self._recordings.arrays()}
        if self.config.align:
            arrays |= {"events": self._events, "alignment": self._alignment.weights}
        return arrays | {f"library/{name}": x for name, x in self.retrieval.arrays().items()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes what ``arrays`` gave."""
        self._recordings, self._told = Recordings.of(arrays), arrays["told"]
        if self.config.align:
            self._events, self._alignment = arrays["events"], Alignment(arrays["alignment"])
        self.retrieval = Retrieval.restored(part(arrays, "library"))

    def _searches(self, length: int) -> range:
        """Steps of a demonstration that the library holds."""
        return range(0, length, self.config.research_every or length)

    def _labels(self, trajectories: Sequence[Trajectory], wanted) -> np.ndarray:
        """What each row of the library is compared by.

        An axis of one quantity at the end: all numbers of a label share one scale, so that none
        that hardly varies, such as a turn of the hand or a height, counts as much as those that do.
        """
        if self.config.retrieval.task == "classification":
            first: dict[bytes, int] = {}
            names = [a.tobytes() for a in wanted]
            return np.array([first.setdefault(name, i) for i, name in enumerate(names)])
        if self.config.labels == "actions":
            # One more than the longest, as the recordings that are played have.
            return np.pad(padded(wanted), ((0, 0), (0, 1), (0, 0)))[..., None]
        paths = [self._path(t) for t in trajectories]
        if self.config.labels == "path":
            return np.stack([knots(path) for path in paths])[..., None]
        steps = [event_steps(t.action[:, -1]) for t in trajectories]
        rows = zip(paths, steps, strict=True)
        return np.stack([at_events(*row) for row in rows])[..., None]

    def _path(self, trajectory: Trajectory) -> Float[np.ndarray, "T D"]:
        """Where the hand was."""
        if not self.config.hand:
            return moved(trajectory.recording[:, : self.config.moves])
        if not np.all(trajectory.percept.available[self.config.hand]):
            raise ValueError(
                f"--head.hand {self.config.hand}: the sensor is missing at some steps of a "
                "demonstration; leave the flag out to sum the actions up"
            )
        position = np.asarray(trajectory.percept.values[self.config.hand], np.float64)
        return position.reshape(len(position), -1)

    def _fit_alignment(self, trajectories: Sequence[Trajectory], seed: int, report: Report) -> None:
        found = [events(t.action, t.recording, self.config.moves) for t in trajectories]
        self._events = np.stack([steps for steps, _ in found])
        target = np.stack([place.reshape(-1) for _, place in found])
        group = np.zeros(len(target), int)
        if self._told.shape[1]:
            group = np.unique(self._told, axis=0, return_inverse=True)[1].reshape(-1)
        self._alignment = Alignment.fit(self.retrieval.library, target, group, seed)
        report(0, {f"alignment/{name}": x for name, x in self._alignment.errors.items()})

    def _query(self, embeddings, available, moment) -> dict[str, dict[str, np.ndarray]]:
        """Arguments of the library; in closed loop the step of the episode is one of them."""
        if self.config.research_every:
            embeddings = embeddings | {MOMENT: moment[:, None].astype(np.float64)}
        return {"embeddings": embeddings, "available": available}

    def _retrieve(self, percept: Percept, moment, key: Array) -> Float[np.ndarray, "B L A"]:
        """The action sequences to play."""
        embeddings = {name: np.asarray(percept.embeddings[name]) for name in self._names}
        available = {name: np.asarray(percept.available[name]) for name in self._names}
        query = self._query(embeddings, available, moment)
        if self.config.play == "fused":
            return self.retrieval.predict(**query)[..., 0].astype(np.float32)
        chosen = self._choose(query, percept, key)
        actions = self._recordings.padded[chosen]
        if not self.config.align:
            return actions
        here, there = self.retrieval.complete(**query), self.retrieval.library[chosen]
        offsets = self._alignment.offset(here, there).reshape(len(chosen), 2, -1)
        rows = zip(actions, self._events[chosen], offsets, strict=True)
        return np.stack([aligned(*row) for row in rows])

    def _choose(self, query, percept: Percept, key: Array) -> np.ndarray:
        """The row of the library that each robot plays, int [B]."""
        if self.config.select == "random":
            return draw(self._tell(percept), self._told, key)
        found = self.retrieval.retrieve(**query)
        if self.config.select == "policy":
            return found.nodes[:, 0]
        rank = found.gaps if self.config.select == "prediction" else -found.weights
        best = rank.argmin(1)
        return np.take_along_axis(found.nodes, best[:, None], 1)[:, 0]
