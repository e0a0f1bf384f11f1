"""Killed in the middle of a step, a resumed run makes the move it would have made, and pays nothing twice."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kills import paid, provider, run, saver_url, told
from processes.killed import Death, Job, drawn, opened, thread

UPSTREAM = Path(__file__).parent / "processes" / "resumed_upstream.py"

ONCE = [
    ("1", "rewrite", 0),
    ("1", "extract", 1),
    ("1", "extract", 2),
    ("1", "answer", 0),
    ("1", "answer", 1),
    ("1", "answer", 2),
]
"""What one conversation pays for: step and attempt; the first call of `extract` fails."""


@pytest.mark.parametrize(
    ("node", "paid_before"),
    [("extract.verify.shaky", 2), ("answer.repair.small", 4)],
)
def test_run_killed_between_two_calls_is_resumed_without_paying_again(
    database_url: str, tmp_path: Path, node: str, paid_before: int
) -> None:
    with provider() as served:
        job = Job(served.base_url, saver_url(database_url, tmp_path), None, ("1",))
        assert run(replace(job, death=Death(node))) == 9
        assert paid(served) == ONCE[:paid_before]
        assert run(job) == 0
        assert paid(served) == ONCE
        undisturbed = replace(job, threads=("2",))
        assert run(undisturbed) == 0
        assert told(job, "1") == told(undisturbed, "2")


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_reply_kept_by_the_answer_store_alone_is_not_paid_for_again(
    database_url: str, tmp_path: Path, mode: Any
) -> None:
    with provider() as served:
        job = Job(served.base_url, saver_url(database_url, tmp_path), database_url, ("1",), mode=mode)
        for reply in (1, 2):
            assert run(replace(job, death=Death("kept", reply))) == 9
        assert run(job) == 0
    assert paid(served) == ONCE


@pytest.mark.parametrize(("place", "store"), [("kept", False), ("read", True)])
def test_reply_that_nothing_kept_is_paid_for_again(
    database_url: str, tmp_path: Path, place: str, *, store: bool
) -> None:
    with provider() as served:
        store_url = database_url if store else None
        job = Job(served.base_url, saver_url(database_url, tmp_path), store_url, ("1",))
        assert run(replace(job, death=Death(place, 2))) == 9
        assert run(job) == 0
    assert paid(served) == [*ONCE[:2], *ONCE[1:]]


def test_history_of_a_killed_and_resumed_run_is_one_way_through_the_graph(
    database_url: str, tmp_path: Path
) -> None:
    with provider() as served:
        job = Job(served.base_url, saver_url(database_url, tmp_path), None, ("1",))
        assert run(replace(job, death=Death("extract.large.large-large"))) == 9
        before = {checkpoint for checkpoint, _ in history(job)}
        assert run(job) == 0
    lines = [
        f"{'killed' if checkpoint in before else 'resumed':8} {line}" for checkpoint, line in history(job)
    ]
    assert "\n".join(lines) == HISTORY.strip()


HISTORY = """
killed   __start__
killed   rewrite
killed   rewrite.small.small-small
killed   rewrite.accept
killed   extract
killed   extract.shaky.shaky-down
killed   extract.shaky.shaky-small
killed   extract.verify.shaky
killed   extract.large.large-large
resumed  extract.verify.large
resumed  extract.accept
resumed  answer
resumed  answer.small.small-small
resumed  answer.verify.small
resumed  answer.repair.small
resumed  answer.verify.small
resumed  answer.large.large-large
resumed  answer.verify.large
resumed  answer.accept
resumed  __end__
"""
"""Each checkpoint: the process that wrote it, and the node that it leads to."""


def history(job: Job) -> list[tuple[str, str]]:
    """Return every checkpoint of conversation 1, oldest first: its id, and where it leads."""
    with opened(job.saver_url) as saver:
        graph = drawn(job).compile(checkpointer=saver)
        snapshots = list(graph.get_state_history(thread("1")))
    return [
        (shot.config["configurable"]["checkpoint_id"], "".join(shot.next) or "__end__")
        for shot in reversed(snapshots)
    ]


def run_upstream(folder, doing, die_at):
    arguments = [sys.executable, str(UPSTREAM), str(folder), doing, die_at]
    strict = {**os.environ, "LANGGRAPH_STRICT_MSGPACK": "true"}
    return subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False, env=strict)


@pytest.mark.parametrize("die_at", ["documents:2", "extract:2", "between:3", "synthesize:3", "documents:4"])
def test_run_killed_on_its_way_back_goes_on_without_paying_again(tmp_path, die_at):
    killed = run_upstream(tmp_path, "start", die_at)
    assert killed.returncode == 9, killed.stderr
    resumed = run_upstream(tmp_path, "resume", "nowhere:0")
    assert (resumed.returncode, resumed.stdout.strip()) == (0, "So it is [d2]."), resumed.stderr
    assert (tmp_path / "calls").read_text().split() == ["small-x", "small-w", "large-x", "small-w"]
