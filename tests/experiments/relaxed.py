"""What several tests of the experiment need: its declared numbers and its records."""

import dataclasses

from archtrial.records.store import Store

TIMES, SEEDS, RATES = (0, 3, 6), range(1, 7), (0.1, 0.4)


def runs_of(folder):
    """Returns a study's rows, each called as the verdict calls it: "efcn@3"."""
    with Store(folder, read_only=True) as store:
        return [
            dataclasses.replace(
                run, arm=f"{run.arm}@{run.coordinates['relax_time']}", coordinates={}
            )
            for run in store.runs()
        ]


def placed(runs):
    """Returns such rows as records have them."""
    found = []
    for run in runs:
        arm, _, time = run.arm.partition("@")
        where = {"relax_time": int(time)}
        found.append(dataclasses.replace(run, arm=arm, coordinates=where))
    return found


class Recorded:
    """In a store's place, runs that were made up."""

    def __init__(self, runs):
        self._runs = runs

    def runs(self, *, per_example=True):
        return self._runs
