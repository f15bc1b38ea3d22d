"""What heads rejected in training, from their logs to the table."""

from experiments.report.rejection import FIRST, rejection, rejection_tables
from experiments.report.scores import find
from mummi.runs.logger import Logger
from tests.support.evaluated import make_imitated


def train(logdir, head: str, seed: int, *reports: tuple[int, dict[str, float]]) -> None:
    """An imitation run whose head logged these metrics at these updates."""
    make_imitated(logdir, head, seed=seed)
    with Logger(logdir) as logger:
        logger.scalars(8, {"loss/kl": 1.0})
        for update, metrics in reports:
            logger.scalars(update, {f"head/{name}": x for name, x in metrics.items()})


def shares(rejected: float, other: float, name: str = "fallback") -> dict[str, float]:
    return {"rejected": rejected, name: other, "loss": 1.0}


def test_shares_are_means_over_the_last_training_of_the_head(tmp_path):
    broken_off = (100, shares(0.9, 0.9)), (200, shares(0.9, 0.9))
    whole = (100, shares(0.1, 0.0)), (200, shares(0.4, 0.2))
    train(tmp_path / "mirror", "mirror", 0, *broken_off, *whole)
    (run,) = find([str(tmp_path)], heads=True)
    assert rejection(run) == {FIRST: 0.1, "rejected": 0.25, "fallback": 0.1}


def test_the_table_has_a_row_for_each_head_that_rejects(tmp_path):
    train(tmp_path / "bc", "bc", 0, (100, {"loss": 1.0}))
    train(tmp_path / "imle", "imle", 0, (100, shares(0.0, 0.5, "dropped")))
    train(tmp_path / "one", "mirror", 0, (100, shares(0.2, 0.0)))
    train(tmp_path / "two", "mirror", 1, (100, shares(0.4, 0.1)))
    make_imitated(tmp_path / "unlogged", "mirror", seed=2)
    (table,) = rejection_tables(find([str(tmp_path)], heads=True))
    assert table.rows == (("walker_walk", "imle"), ("walker_walk", "mirror"))
    lines = [line[1:] for line in table.lines("{}", "{}")[0]]
    assert [line[0] for line in lines] == ["imle", "mirror"]
    assert [cell.split()[0] for cell in lines[0][1:]] == ["0.00", "0.00", "–", "–", "0.50"]
    assert [cell.split()[0] for cell in lines[1][1:]] == ["0.30", "0.30", "–", "0.05", "–"]


def test_heads_that_do_not_reject_have_no_table(tmp_path):
    train(tmp_path / "bc", "bc", 0, (100, {"loss": 1.0}))
    assert rejection_tables(find([str(tmp_path)], heads=True)) == []
