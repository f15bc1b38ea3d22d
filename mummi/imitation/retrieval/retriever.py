"""One stage of retrieval: candidate sets, scoring policy and soft head over one library."""

import functools
from typing import Literal, NamedTuple

import jax
import numpy as np
import scipy.spatial
from flax import traverse_util
from jaxtyping import Float, Int

from mummi.imitation.retrieval.config import RetrievalConfig, StageConfig
from mummi.imitation.retrieval.distance import chunks
from mummi.imitation.retrieval.fusion_head import FusionHead, cross_entropy, squared_error
from mummi.imitation.retrieval.graph import CandidateSets, Graph
from mummi.imitation.retrieval.index import Index, Samples, build_index, node_sets, query_sets
from mummi.imitation.retrieval.policy import (
    Policy,
    Sources,
    label_reward,
    make_sources,
    rank_reward,
)
from mummi.imitation.retrieval.training import (
    in_batches,
    jitted_head,
    policy_nodes,
    policy_scores,
    train_head,
    train_policy,
)

Objective = Literal["classification", "regression", "imputation"]

_REWARDS = {
    "classification": label_reward,
    "regression": label_reward,
    "imputation": rank_reward,
}
_HEAD_LOSSES = {
    "classification": cross_entropy,
    "regression": squared_error,
    "imputation": squared_error,
}


class Retrieved(NamedTuple):
    """What a stage finds for Q queries.

    Attributes:
        nodes: best candidates in the library, best first, int [Q, K']; -1 past the end.
        scores: their scores, [Q, K']; -inf past the end.
        weights: what each contributes to the output, [Q, K']: attention, or 1 for the best.
        gaps: mean squared difference of what each holds to the output, [Q, K']; infinite past the
            end. Of classes, least for those of the class of the greatest logit.
        output: class logits, or values, [Q, L].
    """

    nodes: Int[np.ndarray, "Q K"]
    scores: Float[np.ndarray, "Q K"]
    weights: Float[np.ndarray, "Q K"]
    gaps: Float[np.ndarray, "Q K"]
    output: Float[np.ndarray, "Q L"]


def candidate_loss(
    objective: Objective,
    target: Float[np.ndarray, "S L"],
    values: Float[np.ndarray, "N L"],
    nodes: Int[np.ndarray, "S K"],
) -> Float[np.ndarray, "S K"]:
    """Loss of each candidate's value against the source's.

    The 0/1 loss of one-hot labels, half their squared distance, for classification; the mean
    squared error for regression and imputation.
    """
    scale = 0.5 if objective == "classification" else 1.0 / target.shape[1]
    loss = np.zeros(nodes.shape)
    for rows in chunks(len(target), len(values)):
        square = scipy.spatial.distance.cdist(target[rows], values, "sqeuclidean")
        loss[rows] = scale * np.take_along_axis(square, nodes[rows], 1)
    return loss


class _Examples(NamedTuple):
    """Sources with what their actions are worth, and what the head should make of them."""

    sets: CandidateSets
    sources: Sources
    reward: Float[np.ndarray, "S K"]
    query: Float[np.ndarray, "S D"]
    target: Float[np.ndarray, "S L"]


class Retriever:
    """Retrieves samples of one library and joins what they hold into an output.

    Args:
        config: graph and training.
        stage: policy and head.
        dims: size of each modality's block.
        objective: classification (values are one-hot labels), regression, or imputation.

    Attributes:
        history: metrics of every epoch of the policy and of the head, by these names.
    """

    def __init__(
        self,
        config: RetrievalConfig,
        stage: StageConfig,
        dims: tuple[int, ...],
        objective: Objective,
    ):
        self._config = config
        self._stage = stage
        self._dims = dims
        self._objective = objective
        self._policy = Policy(stage.units)
        self.history: dict[str, list[dict[str, float]]] = {"policy": [], "head": []}

    def fit(
        self,
        library: Samples,
        values: Float[np.ndarray, "N L"],
        view: Samples,
        seeding: Samples,
        seed: int,
        losses: Float[np.ndarray, "N N"] | None = None,
    ) -> "Retriever":
        """Builds the graph and trains policy and head on each sample against the others.

        Sources that have fewer than two candidates, or for classification none with their own
        label, take no part in training (sections 3.2.1 and 3.2.3). Held-out samples search the
        remaining ones only; once the parameters are chosen they join the library.

        Args:
            library: the samples to retrieve, N.
            values: what they hold, float32 [N, L].
            view: the same samples as the policy sees them when they are the source.
            seeding: the same samples as their first neighbours are found by in training.
            seed: seed of everything random.
            losses: what it costs to retrieve the second sample for the first; by default the
                difference of what they hold.

        Raises:
            ValueError: when no sample can be trained on.
        """
        config, dims = self._config, self._dims
        order = np.random.default_rng(seed).permutation(len(values))
        held = round(config.validation * len(values))
        out, rest = np.sort(order[:held]), np.sort(order[held:])
        index, training = build_index(config, dims, library.take(rest)), values[rest]
        sets = node_sets(config, dims, seeding.take(rest), index.samples, index.graph)
        cost = None if losses is None else losses[:, rest]
        examples = self._examples(rest, view, sets, values, training, cost)
        if examples is None:
            own = ", one of them with its label" if self._objective == "classification" else ""
            raise ValueError(
                f"none of the {len(rest)} samples to train on has two candidates{own}: "
                "there must be more samples, or more edges in the graph"
            )
        validation = None
        if held:
            sets = query_sets(config, dims, view.take(out), index)
            validation = self._examples(out, view, sets, values, training, cost)
        self._train(index, training, examples, validation, jax.random.PRNGKey(seed))
        self._index, self._values = build_index(config, dims, library), values
        self._nodes = self._embed_nodes(self._index, values)
        return self

    def __call__(self, query: Samples) -> Retrieved:
        """Retrieves for Q queries that are not in the library."""
        sets = query_sets(self._config, self._dims, query, self._index)
        sources = self._sources(query, sets, self._values)
        nodes, scores, mask = self._rank(self._scores(self._nodes, sets, sources), sets)
        if self._stage.selection == "soft":
            library, head = (self._index.samples.embedding, self._values), self._head(self._values)
            apply = functools.partial(jitted_head, head, self._params["head"], library)
            output, weights = in_batches(apply, (query.embedding, nodes, mask))
        else:
            output = self._values[nodes[:, 0]]
            weights = np.where(np.arange(nodes.shape[1]) == 0, mask, 0).astype(np.float32)
        gaps = candidate_loss("regression", output, self._values, nodes)
        return Retrieved(
            nodes=np.where(mask, nodes, -1),
            scores=scores,
            weights=weights,
            gaps=np.where(mask, gaps, np.inf),
            output=output,
        )

    @property
    def library(self) -> Samples:
        """The samples that can be retrieved."""
        return self._index.samples

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that was fitted, under names with slashes."""
        index = {"graph": self._index.graph._asdict(), "samples": self._index.samples._asdict()}
        index |= {"sizes": self._index.sizes, "values": self._values, "params": self._params}
        flat = traverse_util.flatten_dict(index, sep="/")
        return {name: np.asarray(leaf) for name, leaf in flat.items()}

    def restore(self, arrays: dict[str, np.ndarray]) -> "Retriever":
        """Takes what ``arrays`` gave."""
        tree = traverse_util.unflatten_dict(arrays, sep="/")
        samples, graph = Samples(**tree["samples"]), Graph(**tree["graph"])
        self._index = Index(samples, graph, tree["sizes"])
        self._values, self._params = tree["values"], tree.get("params", {})
        self._nodes = self._embed_nodes(self._index, self._values)
        return self

    def _head(self, values) -> FusionHead:
        return FusionHead(self._stage.head_units, self._stage.heads, values.shape[1])

    def _embed_nodes(self, index: Index, values):
        """What every query needs of the library; None where no policy ranks."""
        if self._stage.ranking == "distance":
            return None
        embedding = index.samples.embedding
        return policy_nodes(self._policy, self._params["policy"], embedding, values)

    def _sources(self, query: Samples, sets: CandidateSets, values) -> Sources:
        return make_sources(query.embedding, values, sets, self._config.limit)

    def _examples(self, rows, view: Samples, sets, values, training, losses) -> _Examples | None:
        """Those of the samples at ``rows`` that have a choice to make; None where there are none.

        Args:
            rows: samples that are sources.
            view: all samples as the policy sees them.
            sets: candidates of the sources, among the samples to train on.
            values: what all samples hold.
            training: what the samples to train on hold.
            losses: of each of them for each of all samples; None for the differences of values.
        """
        query, target = view.take(rows), values[rows]
        if losses is None:
            loss = candidate_loss(self._objective, target, training, sets.nodes)
        else:
            loss = np.take_along_axis(losses[rows], sets.nodes, 1)
        usable = sets.size >= 2
        if self._objective == "classification":
            usable &= np.where(sets.mask, loss, 1.0).min(1) == 0.0
        if not usable.any():
            return None
        sets = CandidateSets(*(x[usable] for x in sets))
        query, target = query.take(usable), target[usable]
        reward = _REWARDS[self._objective](loss[usable], sets.mask)
        sources = self._sources(query, sets, training)
        return _Examples(
            sets=sets, sources=sources, reward=reward, query=query.embedding, target=target
        )

    def _train(self, index: Index, values, examples, validation, key) -> None:
        """Trains the policy, then the head on the candidates that the policy ranks first."""
        stage, self._params = self._stage, {}
        embedding = index.samples.embedding
        if stage.ranking == "learned":
            held_out = validation and (validation.sources, validation.reward)
            self._params["policy"], self.history["policy"] = train_policy(
                self._policy,
                stage,
                jax.random.fold_in(key, 0),
                examples.sources,
                examples.reward,
                embedding,
                values,
                held_out,
            )
        if stage.selection == "hard":
            return
        nodes = self._embed_nodes(index, values)

        def ranked(part: _Examples):
            best, _, mask = self._rank(self._scores(nodes, part.sets, part.sources), part.sets)
            return (part.query, best, mask), part.target

        self._params["head"], self.history["head"] = train_head(
            self._head(values),
            stage,
            _HEAD_LOSSES[self._objective],
            jax.random.fold_in(key, 1),
            *ranked(examples),
            (embedding, values),
            validation and ranked(validation),
        )

    def _scores(self, nodes, sets: CandidateSets, sources: Sources) -> Float[np.ndarray, "S K"]:
        """Scores of all candidates; -inf past the end of a set."""
        if self._stage.ranking == "distance":
            return -sets.distance
        score = functools.partial(policy_scores, self._policy, self._params["policy"], nodes)
        return np.where(sets.mask, in_batches(score, sources), -np.inf)

    def _rank(self, scores, sets: CandidateSets):
        """Nodes, scores and mask of the K' best candidates, [S, K'], best first."""
        order = np.argsort(-scores, axis=1, kind="stable")[:, : self._stage.top_k]
        nodes, scores = (np.take_along_axis(x, order, 1) for x in (sets.nodes, scores))
        return nodes, scores, np.isfinite(scores)
