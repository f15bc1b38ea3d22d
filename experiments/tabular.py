"""Retrieval as a library on public tables with blocks missing: python -m experiments.tabular.

Blocks of columns are modalities. Everything learns from complete rows; of the rows to be predicted
each block is missing with some probability. scikit-learn's imputers with nearest neighbours are
what it is compared with.
"""

import dataclasses
import json
import pathlib
from typing import Literal, NamedTuple

import numpy as np
import scipy.stats
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from experiments.command_line import explain
from mummi.config import check_seed
from mummi.imitation.retrieval import (
    Retrieval,
    RetrievalConfig,
    StageConfig,
    modality_fair_distance,
)
from mummi.imitation.retrieval.distance import fit_zscore, smallest, zscore
from mummi.runs.files import atomic

Name = Literal["breast_cancer", "diabetes", "digits", "wine"]
NEIGHBOURS = 5
"""Of every nearest-neighbour method, and those that retrieval starts its search from."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Accuracy of classes, and R² of diabetes, where blocks of columns are missing.

    Attributes:
        data: tables that scikit-learn ships: breast_cancer (blocks mean, error, worst), diabetes
            (body, lipids, others), digits (the quarters of the picture) or wine (thirds).
        missing: probabilities that a block of a row to be predicted is missing; one always stays.
        rows: most rows of a table, drawn by the seed.
        epochs: of each policy and each head.
        seeds: of rows, of the split into 70 % to learn from and 30 % to predict, and of training.
        out: file of the numbers.
    """

    data: tuple[Name, ...] = ("wine", "breast_cancer", "diabetes", "digits")
    missing: tuple[float, ...] = (0.0, 0.25, 0.5)
    rows: int = 600
    epochs: int = 30
    seeds: tuple[int, ...] = (0, 1, 2)
    out: str = "runs/tabular.json"

    def __post_init__(self):
        for rate in self.missing:
            if not 0 <= rate < 1:
                raise ValueError(f"--missing has {rate}; a probability below 1 is needed")
        if self.rows < 20 or self.epochs < 1:
            raise ValueError(
                f"--rows {self.rows} must be at least 20, and --epochs {self.epochs} at least 1"
            )
        for seed in self.seeds:
            check_seed(seed)


class Data(NamedTuple):
    """A table.

    Attributes:
        columns: [N, D], the blocks side by side.
        labels: integers of classes, or numbers, [N].
        blocks: their sizes by name.
    """

    columns: np.ndarray
    labels: np.ndarray
    blocks: dict[str, int]

    @property
    def classes(self) -> bool:
        """Whether the labels are classes."""
        return np.issubdtype(self.labels.dtype, np.integer)

    def split(self, columns: np.ndarray) -> dict[str, np.ndarray]:
        """The blocks of some rows by name."""
        ends = np.cumsum(list(self.blocks.values()))[:-1]
        return dict(zip(self.blocks, np.split(columns, ends, axis=1), strict=True))


def load(name: Name) -> Data:
    """A table of scikit-learn's, and its blocks."""
    from sklearn import datasets  # here, as it takes a second

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    if name == "digits":
        rows, columns = np.divmod(np.arange(64), 8)
        x = x[:, np.lexsort((columns, rows, columns // 4, rows // 4))]
        return Data(
            x, y, dict.fromkeys(("upper left", "upper right", "lower left", "lower right"), 16)
        )
    blocks = {
        "breast_cancer": {"mean": 10, "error": 10, "worst": 10},
        "diabetes": {"body": 4, "lipids": 4, "others": 2},
        "wine": {"first": 5, "second": 4, "third": 4},
    }
    return Data(x, y, blocks[name])


def availability(rows: int, blocks: int, missing: float, random: np.random.Generator) -> np.ndarray:
    """Which blocks each row has, bool [rows, blocks]; one that would have none has a random one."""
    available = random.random((rows, blocks)) >= missing
    empty = ~available.any(1)
    available[empty, random.integers(blocks, size=empty.sum())] = True
    return available


def baselines(data: Data) -> dict:
    """scikit-learn's imputers, each before z-scores and nearest neighbours, untrained."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kind = KNeighborsClassifier if data.classes else KNeighborsRegressor
    imputers = {
        "SimpleImputer": SimpleImputer(),
        "KNNImputer": KNNImputer(n_neighbors=NEIGHBOURS),
        "IterativeImputer": IterativeImputer(max_iter=10, random_state=0),
    }
    return {
        f"{name}, k-NN": make_pipeline(StandardScaler(), imputer, kind(NEIGHBOURS))
        for name, imputer in imputers.items()
    }


def nearest(data: Data, learned, labels, queries, available) -> np.ndarray:
    """Vote or mean of the nearest by the modality-fair distance, with nothing imputed."""
    dims, everything = tuple(data.blocks.values()), np.ones((len(learned), len(data.blocks)), bool)
    scale = fit_zscore(learned, everything, dims)
    library = zscore(learned, everything, dims, *scale)
    asked = zscore(queries, available, dims, *scale)
    near, _ = smallest(modality_fair_distance(asked, library, dims, available), NEIGHBOURS)
    if not data.classes:
        return labels[near].mean(1)
    return np.eye(labels.max() + 1)[labels[near]].sum(1).argmax(1)


def retrieval(data: Data, learned, labels, epochs: int, seed: int) -> Retrieval:
    """The library, fitted with the paper's settings but for the epochs."""
    stage = StageConfig(epochs=epochs, head_epochs=epochs)
    config = RetrievalConfig(
        task="classification" if data.classes else "regression",
        seeds=NEIGHBOURS,
        limit=60,
        seed=seed,
        prediction=stage,
        imputation=dataclasses.replace(stage, rollout=64, head_units=64, heads=2),
    )
    return Retrieval(config).fit(data.split(learned), labels)


def score(data: Data, predicted: np.ndarray, truth: np.ndarray) -> float:
    """Percent of right classes, or 100 R²."""
    if data.classes:
        return 100 * float(np.mean(predicted == truth))
    return 100 * float(
        1 - np.square(truth - predicted).sum() / np.square(truth - truth.mean()).sum()
    )


def run_one(name: Name, seed: int, arguments: Arguments) -> dict[str, dict[str, float]]:
    """The score of every method at every rate of missing blocks, on one table."""
    from sklearn.model_selection import train_test_split

    data, random = load(name), np.random.default_rng(seed)
    chosen = random.permutation(len(data.labels))[: arguments.rows]
    x, y = data.columns[chosen].astype(np.float64), data.labels[chosen]
    learned, queries, labels, truth = train_test_split(
        x, y, test_size=0.3, random_state=seed, stratify=y if data.classes else None
    )
    models = {method: model.fit(learned, labels) for method, model in baselines(data).items()}
    library = retrieval(data, learned, labels, arguments.epochs, seed)
    found: dict[str, dict[str, float]] = {}
    for rate in arguments.missing:
        available = availability(len(queries), len(data.blocks), rate, random)
        cut = np.where(np.repeat(available, list(data.blocks.values()), axis=1), queries, np.nan)
        predicted = {method: model.predict(cut) for method, model in models.items()}
        predicted["modality-fair k-NN"] = nearest(data, learned, labels, cut, available)
        masks = dict(zip(data.blocks, available.T, strict=True))
        retrieved = library.retrieve(data.split(cut), masks)
        predicted["retrieval, first"] = labels[retrieved.nodes[:, 0]]
        predicted["retrieval, fused"] = library.predict(data.split(cut), masks)
        for method, values in predicted.items():
            found.setdefault(method, {})[f"{rate:g}"] = score(data, values, truth)
    return found


def run(arguments: Arguments) -> dict[str, list[dict]]:
    """The scores by table, a row for each seed; written after each."""
    out = pathlib.Path(arguments.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[dict]] = {}
    pairs = [(name, seed) for name in arguments.data for seed in arguments.seeds]
    for name, seed in track(pairs, "tables"):
        found.setdefault(name, []).append(run_one(name, seed, arguments))
        content = {"arguments": dataclasses.asdict(arguments), "scores": found}
        with atomic(out) as temporary:
            temporary.write_text(json.dumps(content, indent=1))
    return found


def table(name: str, rows: list[dict]) -> Table:
    """Means over seeds with 95 % intervals of Student's t."""
    rates = list(next(iter(rows[0].values())))
    shown = Table(name, *(f"{100 * float(rate):g} % missing" for rate in rates))
    for method in rows[0]:
        cells = []
        for rate in rates:
            values = np.array([row[method][rate] for row in rows])
            text = f"{values.mean():.1f}"
            if len(values) > 1:
                half = scipy.stats.sem(values) * scipy.stats.t.ppf(0.975, len(values) - 1)
                text += f" ± {half:.1f}"
            cells.append(text)
        shown.add_row(method, *cells)
    return shown


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line, learns and shows."""
    with explain():
        parsed = tyro.cli(Arguments, prog="python -m experiments.tabular", args=arguments)
        for name, rows in run(parsed).items():
            Console().print(table(name, rows))
        print(f"numbers (accuracy in %, of diabetes 100 R²): {parsed.out}")


if __name__ == "__main__":
    main()
