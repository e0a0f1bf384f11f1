"""Many outcomes: memory does not hang on how many, and the work goes wherever joblib sends it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from runs import logged, plan_from, questions
from worlds import TIERS, world

from langroute.tuning.replay import Logged
from langroute.tuning.sampling import sampled_queries
from langroute.tuning.scores import fit_prompt_score, fit_reply_score
from langroute.tuning.whatif import what_if

MOST_MB = 1_500
RUN = """
import json, resource, sys, time
sys.path.insert(0, sys.argv[1])
from many import fitted_and_swept
began_s, told = time.monotonic(), []
found = fitted_and_swept(int(sys.argv[2]), int(sys.argv[3]), told.append)
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({**found, "told": told[-1], "words": len(told), "mb": used.ru_maxrss / 1024,
                  "cpu_s": used.ru_utime, "s": time.monotonic() - began_s}))
"""


def learned(outcomes: int, most_queries: int) -> dict[str, Any]:
    """Return what a process of its own found that fitted and swept so many outcomes, and what that took."""
    arguments = [str(Path(__file__).parent), str(outcomes), str(most_queries)]
    ran = subprocess.run([sys.executable, "-c", RUN, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


# Memory --------------------------------------------------------------------------------------------------


def test_memory_of_a_fit_does_not_grow_with_the_outcomes():
    few, many = learned(50_000, 1_000), learned(200_000, 1_000)
    assert many["told"] == 200_000
    assert many["words"] > 100
    assert many["queries"] == few["queries"] == 1_000
    # Without the bound 75,000 queries more take 500 MB; the columns of the sweep are 12 MB of these.
    assert many["mb"] - few["mb"] < 60


@pytest.mark.campaign
def test_a_million_outcomes_are_fitted_and_swept():
    count = int(os.environ.get("LANGROUTE_TUNE_OUTCOMES", "1000000"))
    found = learned(count, 50_000)
    print(json.dumps(found))  # noqa: T201
    assert found["told"] == count
    assert found["saving"] > 0
    assert found["mb"] < MOST_MB


def test_sample_holds_whole_queries_whatever_the_order():
    outcomes = list(world(300))
    kept = sampled_queries(outcomes, 100)
    again = sampled_queries(reversed(outcomes), 100)
    assert len(kept) == 200
    assert sorted(o.query for o in kept) == sorted(o.query for o in again)
    assert {o.tier for o in kept} == set(TIERS)
    assert [id(o.prompt) for o in kept[::2]] == [id(o.prompt) for o in kept[1::2]]


def test_sample_is_uniform_over_queries():
    outcomes = world(2_000, seed=3)
    drawn = sampled_queries(outcomes, 1_000)
    right = [np.mean([o.score for o in some if o.tier == "small"]) for some in (drawn, outcomes)]
    assert abs(right[0] - right[1]) < 0.05
    with pytest.raises(ValueError, match="at most 0 queries"):
        sampled_queries(outcomes, 0)


# A cluster -----------------------------------------------------------------------------------------------


def restarted(record: Logged) -> Any:
    return plan_from("small")


class Witnessed:
    """A plan made anew, and a mark of the process that made it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, record: Logged) -> Any:
        (self.folder / str(os.getpid())).touch()
        return restarted(record)


@contextmanager
def cluster() -> Iterator[Any]:
    """Yield a client of two worker processes on loopback."""
    distributed = pytest.importorskip("distributed", reason="pip install -e '.[dev]' brings Dask")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        ) as local,
        distributed.Client(local) as client,
    ):
        yield client


@pytest.mark.filterwarnings("ignore")  # Dask's own
def test_cross_fits_and_replays_go_to_a_cluster_of_dask(tmp_path: Path):
    rng = np.random.default_rng(5)
    log = logged(questions(3_000, rng), lambda _: "small", 0.5, 0.05, rng)
    fits = [fit_prompt_score(world(200), TIERS), fit_reply_score(world(200), TIERS)]
    here = what_if(log, restarted)
    told: list[int] = []
    with cluster() as client, joblib.parallel_config(backend="dask"):
        assert len(client.scheduler_info()["workers"]) == 2
        there = what_if(log, Witnessed(tmp_path), progress=told.append)
        again = [fit_prompt_score(world(200), TIERS), fit_reply_score(world(200), TIERS)]
    assert there == here
    assert told == [3_000]
    assert [fit.score.digest for fit in again] == [fit.score.digest for fit in fits]
    workers = {path.name for path in tmp_path.iterdir()}
    assert workers
    assert str(os.getpid()) not in workers
