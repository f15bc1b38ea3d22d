"""Damaged inputs of every kind: refused in words, or read rightly; nothing else."""

import collections
import multiprocessing

import pytest

from tests.fuzz.kinds import KINDS
from tests.fuzz.trial import OUTCOMES, Trial, attempt

SECONDS = 120
"""For each; the first also imports everything."""


class Reader:
    """A process that reads damaged inputs, and another one where it dies or hangs."""

    def __init__(self):
        self._pool = None

    def attempt(self, name: str, number: int) -> Trial:
        """As ``trial.attempt``."""
        if self._pool is None:
            self._pool = multiprocessing.get_context("spawn").Pool(1)
        try:
            return self._pool.apply_async(attempt, (name, number)).get(SECONDS)
        except multiprocessing.TimeoutError:  # also of one that died: its answer never comes
            self.close()
            return Trial(f"number {number}", "WRONG", f"it died, or gave no answer for {SECONDS} s")

    def close(self) -> None:
        """Ends the process."""
        if self._pool:
            self._pool.terminate()
            self._pool.join()
        self._pool = None


@pytest.fixture(scope="module")
def reader():
    """One for all kinds, which takes seconds to start."""
    reader = Reader()
    yield reader
    reader.close()


@pytest.fixture(scope="module")
def counts():
    """Outcomes by kind, printed at the end as a table of Markdown."""
    found = {}
    yield found
    rows = {**found, "**all**": sum(found.values(), collections.Counter())}
    print(f"\n\n| damaged | inputs | {' | '.join(OUTCOMES)} |\n|{'---|' * (2 + len(OUTCOMES))}")
    for name, outcomes in rows.items():
        numbers = [outcomes.total(), *(outcomes[outcome] for outcome in OUTCOMES)]
        print(f"| {name} | {' | '.join(map(str, numbers))} |")


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_damaged_input_is_refused_in_words_or_read_rightly(kind, reader, counts):
    trials = [reader.attempt(kind.name, number) for number in range(kind.count)]
    counts[kind.name] = collections.Counter(trial.outcome for trial in trials)
    assert [trial for trial in trials if trial.outcome == "WRONG"] == []


def test_there_are_300():
    assert sum(kind.count for kind in KINDS) == 300
