"""What several tests of the experiment need: its declared numbers and its records."""

from archtrial.records.store import Store

TIMES, SEEDS, RATES = (0, 3, 6), range(1, 7), (0.1, 0.4)


def runs_of(folder):
    with Store(folder, read_only=True) as store:
        return store.runs()


class Recorded:
    """In a store's place, runs that were made up."""

    def __init__(self, runs):
        self._runs = runs

    def runs(self, *, per_example=True):
        return self._runs
