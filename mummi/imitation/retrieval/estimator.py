"""The stand-alone method: fit on embeddings with labels, predict with modalities missing."""

import dataclasses
import json
import os
import zipfile
from collections.abc import Collection, Mapping

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from mummi.imitation.retrieval.config import RetrievalConfig, StageConfig
from mummi.imitation.retrieval.distance import EPSILON, fit_zscore, zscore
from mummi.imitation.retrieval.imputation import fit_imputer, impute, make_imputer
from mummi.imitation.retrieval.index import Samples
from mummi.imitation.retrieval.retriever import Retrieved, Retriever
from mummi.runs.files import atomic

_FORMAT = 1
_LEAST = 4
"""Samples of which some can be held out and the others still offer a choice."""


class Retrieval:
    """Predicts labels by retrieving labelled samples, whatever modalities are missing.

    Prediction first reconstructs missing modalities from donors, then ranks the candidates around
    the query, then joins the labels of the best (RL4IL, sections 3.1 to 3.2.5). A query without
    any modality stands at the training mean.

    Args:
        config: settings; the paper's by default.

    Attributes:
        config: the settings.
        modalities: size of each modality's embedding by name; empty before ``fit``.
        history: metrics of every training epoch: {stage: {"policy" or "head": [{name: value}]}},
            the stages being the imputed modalities and prediction; empty after ``load``.
    """

    def __init__(self, config: RetrievalConfig | None = None):
        self.config = config or RetrievalConfig()
        self.modalities: dict[str, int] = {}
        self.history: dict[str, dict] = {}

    def fit(
        self,
        embeddings: Mapping[str, ArrayLike],
        labels: ArrayLike,
        available: Mapping[str, ArrayLike] | None = None,
        *,
        always: Collection[str] = (),
        losses: Float[np.ndarray, "_ _"] | None = None,
    ) -> "Retrieval":
        """Learns from N labelled samples; returns itself.

        Labels of regression with several axes are quantities [N, ..., L], at times for example:
        each element loses its mean, and each of the L quantities has one scale, the root of its
        mean variance over all elements. An element that hardly varies then counts for little.

        Args:
            embeddings: by modality, floating [N, D_m]; anything, NaN too, where not available.
            labels: integers [N] for classification; floats [N, ...] for regression.
            available: by modality, bool [N]; what is not named is available throughout.
            always: modalities that never fail, for whose imputation nothing is trained; one that
                is missing all the same stands at the training mean and is left out of distances.
            losses: [i, j] is what it costs to retrieve sample j for sample i, the loss of eq. 9; by
                default the difference of their labels.

        Raises:
            ValueError: when shapes, lengths or values do not fit, naming the modality.
        """
        if not embeddings:
            raise ValueError("embeddings names no modality; at least one is needed")
        self.modalities = {name: _width(name, x) for name, x in embeddings.items()}
        for name in always:
            self._require_known(name)
        samples = self._collect(embeddings, available)
        count = len(samples.embedding)
        values = self._encode(np.asarray(labels), count)
        if losses is not None and (losses.shape != (count, count) or not np.isfinite(losses).all()):
            raise ValueError(
                f"losses have shape {losses.shape}; {count} samples have finite ones of shape "
                f"{(count, count)}"
            )
        ones = np.ones(sum(self._dims))
        self._scale = (0 * ones, ones)
        if self.config.normalise:
            self._scale = fit_zscore(*samples, self._dims)
        samples = self._normalised(samples)
        self._imputers, self.history = {}, {}
        if self.config.impute and len(self._dims) > 1:
            self._fit_imputers(samples, always)
            samples = impute(self._imputers, samples, self._dims)
        self._predictor = self._make_predictor()
        seed = self._seed(len(self._dims))
        self._predictor.fit(samples, values, samples, samples, seed, losses)
        self.history["prediction"] = self._predictor.history
        return self

    def predict(
        self,
        embeddings: Mapping[str, ArrayLike],
        available: Mapping[str, ArrayLike] | None = None,
    ) -> np.ndarray:
        """Labels of Q queries: integers [Q], or floats [Q, ...] in the form given to ``fit``.

        Args:
            embeddings: by modality, floating [Q, D_m]; anything, NaN too, where not available. A
                modality that is left out is missing in all queries.
            available: by modality, bool [Q]; what is not named is available where given.

        Raises:
            ValueError: when shapes, lengths or values do not fit, naming the modality.
            RuntimeError: before ``fit``.
        """
        output = self.retrieve(embeddings, available).output
        if self.config.task == "classification":
            return self._labels["classes"][output.argmax(1)]
        labels = output.astype(np.float64) * self._labels["std"] + self._labels["mean"]
        return labels.reshape(-1, *self._label_shape)

    def retrieve(
        self,
        embeddings: Mapping[str, ArrayLike],
        available: Mapping[str, ArrayLike] | None = None,
    ) -> Retrieved:
        """The samples that a prediction rests on, as their positions in what ``fit`` was given.

        Arguments and errors are those of ``predict``. The output is class logits, or standardised
        labels; predictions of hard selection are those of the first node.
        """
        query = self._complete(embeddings, available)
        return self._predictor(query)

    def complete(
        self,
        embeddings: Mapping[str, ArrayLike],
        available: Mapping[str, ArrayLike] | None = None,
    ) -> Float[np.ndarray, "Q D"]:
        """Normalised embeddings side by side, float32, missing ones imputed or 0.

        Arguments and errors are those of ``predict``.
        """
        return self._complete(embeddings, available).embedding

    @property
    def library(self) -> Float[np.ndarray, "N D"]:
        """What ``complete`` says of the samples that were given to ``fit``."""
        return self._predictor.library.embedding

    def _complete(self, embeddings, available) -> Samples:
        if not self.modalities:
            raise RuntimeError("nothing to retrieve from; call fit or load first")
        samples = self._normalised(self._collect(embeddings, available))
        return impute(self._imputers, samples, self._dims)

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that was fitted, settings too, as arrays by names with slashes.

        Raises:
            RuntimeError: before ``fit``.
        """
        if not self.modalities:
            raise RuntimeError("nothing to save; call fit first")
        meta = {
            "format": _FORMAT,
            "config": dataclasses.asdict(self.config),
            "modalities": self.modalities,
            "label_shape": self._label_shape,
            "imputed": list(self._imputers),
        }
        arrays = {"mean": self._scale[0], "std": self._scale[1], "meta": np.array(json.dumps(meta))}
        parts = {"labels": self._labels, "prediction": self._predictor.arrays()}
        parts |= {f"imputation{m}": imputer.arrays() for m, imputer in self._imputers.items()}
        for part, content in parts.items():
            arrays |= {f"{part}/{name}": array for name, array in content.items()}
        return arrays

    @classmethod
    def restored(cls, arrays: Mapping[str, np.ndarray]) -> "Retrieval":
        """One whose predictions are those of the one that gave ``arrays``.

        Raises:
            ValueError: they are not what ``arrays`` gives, or of another format.
        """
        try:
            meta = json.loads(np.asarray(arrays["meta"]).item())
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not the arrays of a Retrieval: {error}") from error
        if meta.get("format") != _FORMAT:
            raise ValueError(f"format {meta.get('format')}, where this reads {_FORMAT}")
        settings = meta["config"]
        stages = {name: StageConfig(**settings[name]) for name in ("prediction", "imputation")}
        self = cls(RetrievalConfig(**settings | stages))
        self.modalities = meta["modalities"]
        self._label_shape = tuple(meta["label_shape"])
        self._scale = (arrays["mean"], arrays["std"])
        self._labels = part(arrays, "labels")
        self._predictor = self._make_predictor().restore(part(arrays, "prediction"))
        self._imputers = {
            m: make_imputer(self.config, self._dims).restore(part(arrays, f"imputation{m}"))
            for m in meta["imputed"]
        }
        return self

    def save(self, path: str | os.PathLike) -> None:
        """Writes ``arrays`` as one .npz file, without pickles.

        Raises:
            RuntimeError: before ``fit``.
            OSError: when it cannot be written; a file that was there stays.
        """
        arrays = self.arrays()
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Retrieval":
        """Reads what ``save`` wrote; predictions are the same.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when it is not a file of ``save``, or of another format.
        """
        try:
            # Of a damaged archive np.load would leave the file open.
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = dict(archive)
            return cls.restored(arrays)
        except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is no file of Retrieval.save: {error}") from error

    @property
    def _dims(self) -> tuple[int, ...]:
        return tuple(self.modalities.values())

    def _seed(self, stage: int) -> int:
        return int(np.random.SeedSequence((self.config.seed, stage)).generate_state(1)[0])

    def _make_predictor(self) -> Retriever:
        return Retriever(self.config, self.config.prediction, self._dims, self.config.task)

    def _fit_imputers(self, samples: Samples, always: Collection[str]) -> None:
        for m, name in enumerate(self.modalities):
            if name in always:
                continue
            donors = int(samples.available[:, m].sum())
            if donors < _LEAST:
                raise ValueError(
                    f"modality {name!r} is available in {donors} samples; its imputation needs "
                    f"{_LEAST}, or set impute=False"
                )
            imputer = fit_imputer(self.config, self._dims, m, samples, self._seed(m))
            self._imputers[m], self.history[name] = imputer, imputer.history

    def _normalised(self, samples: Samples) -> Samples:
        embedding = zscore(samples.embedding, samples.available, self._dims, *self._scale)
        return Samples(embedding, samples.available)

    def _require_known(self, name: str) -> None:
        if name not in self.modalities:
            known = ", ".join(self.modalities)
            raise ValueError(f"unknown modality {name!r}; there are {known}")

    def _collect(self, embeddings, available) -> Samples:
        """Blocks and masks side by side, checked against the modalities."""
        available = available or {}
        for name in (*embeddings, *available):
            self._require_known(name)
        if not embeddings:
            raise ValueError("embeddings names no modality; with all missing, give one and mask it")
        count = len(next(iter(embeddings.values())))
        if not count:
            raise ValueError("embeddings hold no samples; at least one is needed")
        blocks, masks = [], []
        for name, width in self.modalities.items():
            if name not in embeddings:
                blocks.append(np.zeros((count, width)))
                masks.append(np.zeros(count, bool))
                continue
            block = np.asarray(embeddings[name], np.float64)
            mask = np.asarray(available.get(name, np.ones(count, bool)))
            if block.shape != (count, width):
                raise ValueError(
                    f"modality {name!r} has shape {block.shape}; expected {(count, width)}"
                )
            if mask.shape != (count,) or mask.dtype != bool:
                raise ValueError(
                    f"availability of {name!r} is {mask.dtype} {mask.shape}; expected bool "
                    f"{(count,)}"
                )
            if not np.isfinite(block[mask]).all():
                raise ValueError(
                    f"modality {name!r} holds numbers that are not finite where it is available"
                )
            blocks.append(block)
            masks.append(mask)
        return Samples(np.concatenate(blocks, 1), np.stack(masks, 1))

    def _encode(self, labels: np.ndarray, count: int) -> np.ndarray:
        """Labels as float32 [N, L]: one-hot, or standardised."""
        classes = self.config.task == "classification"
        if len(labels.shape) < 1 or len(labels) != count or (classes and labels.ndim != 1):
            raise ValueError(f"labels have shape {labels.shape} for {count} samples")
        if count < _LEAST:
            raise ValueError(f"{count} samples are too few; at least {_LEAST}")
        if not np.issubdtype(labels.dtype, np.integer if classes else np.number):
            kind = "integers" if classes else "numbers"
            raise ValueError(f"labels of {self.config.task} are {kind}, not {labels.dtype}")
        self._label_shape = labels.shape[1:]
        if classes:
            names, position = np.unique(labels, return_inverse=True)
            self._labels = {"classes": names}
            return np.eye(len(names), dtype=np.float32)[position]
        flat = labels.reshape(count, -1).astype(np.float64)
        if not np.isfinite(flat).all():
            raise ValueError("labels hold numbers that are not finite")
        mean = flat.mean(0)
        variance = (np.square(flat - mean).sum(0) / (count - 1)).reshape(self._label_shape)
        times = tuple(range(variance.ndim - 1))
        std = np.sqrt(variance.mean(times, keepdims=True))
        std = np.broadcast_to(np.where(std < EPSILON, 1.0, std), self._label_shape).reshape(-1)
        self._labels = {"mean": mean, "std": std}
        return ((flat - mean) / std).astype(np.float32)


def _width(name: str, embedding: ArrayLike) -> int:
    shape = np.shape(embedding)
    if len(shape) != 2 or not shape[1]:
        raise ValueError(f"modality {name!r} has shape {shape}; expected (samples, dimensions)")
    return shape[1]


def part(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Those arrays whose name starts with ``prefix/``, without it."""
    start = f"{prefix}/"
    return {name[len(start) :]: x for name, x in arrays.items() if name.startswith(start)}
