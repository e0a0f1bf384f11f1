"""Conversations whose processes are killed and started again until they are through, and what that cost.

Models, and so the log of what was paid for, live in this process: `LoopbackProvider` over real HTTP.
"""

import multiprocessing
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

from processes.killed import PRELOADED, Death, Job, drawn, opened, thread, work
from sqlalchemy import text

from langroute.ledger import open_store
from langroute.testing import Fault, LoopbackProvider

__all__ = ["Durability", "Killing", "paid", "provider", "run", "saver_url", "told"]

Durability = Literal["sync", "async"]
Kind = Literal["moment", "reply", "read", "kept"]

KINDS: tuple[Kind, ...] = ("reply", "moment", "read", "moment", "kept", "moment")
"""Half at any moment (SIGKILL), half just after a reply: SIGKILL, or `os._exit` as `Death` says."""

JUST_AFTER_S = 0.008
"""Within this time of the reply a `reply` kill comes; writing and reading it take some 3 ms of that."""

KILLS_A_RUN = 8
PATIENCE_S = 120.0
BOUND_S = 25 * 60.0
"""After this time a campaign starts no new conversation."""

Paid = tuple[str, str, int]
"""Conversation, step, index of the attempt."""

ATTEMPTS = {
    "rewrite": [("small", 1)],
    "extract": [("down", 1), ("small", 1), ("large", 1)],
    "answer": [("small", 1), ("small", 3), ("large", 1)],
}
"""The attempts of each step of `processes.killed`: the model, and how many messages it is sent."""


@cache
def _processes() -> Any:
    """Return what starts new processes: a server that has imported, and opened nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def start(job: Job) -> Any:
    """Start a process for a job, and return it once it has begun."""
    begun = _processes().Event()
    process = _processes().Process(target=work, args=(job, begun), daemon=True)
    process.start()
    assert begun.wait(PATIENCE_S), "the process did not begin"
    return process


def end(process: Any) -> int:
    """Wait for a process to end, and return its exit code: 0, 9 of `os._exit`, or -9 of SIGKILL."""
    process.join(PATIENCE_S)
    code = process.exitcode
    assert code is not None, "the process did not end"
    process.close()
    return int(code)


def run(job: Job) -> int:
    """Run a job in a process of its own, and return how it ended."""
    return end(start(job))


@contextmanager
def provider(answered: Any = lambda: None, *, reply_s: float = 0.0) -> Iterator[LoopbackProvider]:
    """Serve the three models: `small` is refused where a verifier looks, `large` is not, `down` fails.

    Every reply ends with what it is for, and takes `reply_s`; `answered` is told of each before it is sent.
    """

    def brain(said: str) -> Any:
        def answer(body: dict[str, Any]) -> str:
            answered()
            return f"{said} {_what_for(body)}"

        return answer

    models = {"down": "", "small": brain("I cannot help with that."), "large": brain("Laid in 1866.")}
    with LoopbackProvider(models) as served:
        served.fail("down", Fault("status", status=503))
        for model in ("small", "large"):
            served.fail(model, Fault("delay", delay_s=reply_s))
        yield served


def paid(served: LoopbackProvider) -> list[Paid]:
    """Return what every paid call was for, in order."""
    return [_what_for(request.body) for request in served.requests if request.model != "down"]


def _what_for(body: Any) -> Paid:
    name, step = body["messages"][0]["content"].split()
    return name, step, ATTEMPTS[step].index((body["model"], len(body["messages"])))


def stored(store_url: str, threads: Sequence[str]) -> set[Paid]:
    """Return what the replies of these conversations that stand in an answer store are for."""
    rows = text("SELECT reply FROM langroute_answers WHERE thread = :name")
    with open_store(store_url).statements() as connection:
        replies = [reply for name in threads for reply in connection.scalars(rows, {"name": name})]
    return {_said(reply) for reply in replies}


def _said(reply: str) -> Paid:
    found = re.search(r"\('(\w+)', '(\w+)', (\d)\)", reply)
    assert found is not None, reply
    return found[1], found[2], int(found[3])


def told(job: Job, name: str) -> list[Any]:
    """Return the replies of a conversation and their decision records, but for its name, ids and times."""
    with opened(job.saver_url) as saver:
        messages = drawn(job).compile(checkpointer=saver).get_state(thread(name)).values["messages"]
    return [
        (message.text.replace(f"'{name}'", "NAME"), _timeless(message.response_metadata["langroute"]))
        for message in messages
    ]


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(held) for key, held in value.items() if key not in TIMES_AND_IDS}
    return [_timeless(held) for held in value] if isinstance(value, list) else value


TIMES_AND_IDS = {"call_id", "latency_s", "judged_s", "first_token_s"}


@dataclass
class Figures:
    """What a campaign came to."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    conversations: int = 0
    calls: int = 0
    stored: int = 0
    """Replies that stood in the answer store when a process was killed."""
    repeats_of_stored: int = 0
    repeats_of_others: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kills.most_common())
        return (
            f"seed {self.seed}: {self.kills.total()} kills ({kinds}), {self.conversations} conversations,"
            f" {self.calls} paid calls: {self.repeats_of_stored} repeats of {self.stored} stored replies,"
            f" {self.repeats_of_others} repeats of others; {self.seconds:.0f} s"
        )


class Killing:
    """A campaign: pairs of conversations, each run until it is through or its processes were killed enough.

    Args:
        saver_url: Where the checkpoints go.
        store_url: Where the answers go, None for no answer store.
        durability: LangGraph's, of every run.
        seed: What kills, modes and moments are drawn from.
        reply_s: Seconds that the models take over a reply.
    """

    def __init__(
        self, saver_url: str, store_url: str | None, durability: Durability, seed: int, reply_s: float = 0.0
    ) -> None:
        self.figures = Figures(seed)
        self._job = Job("", saver_url, store_url, (), durability)
        self._rng = random.Random(seed)  # noqa: S311 - a seeded draw, no secret
        self._reply_s = reply_s
        self._stored: dict[Paid, int] = {}
        """Each reply found in the store after a kill, with how many calls had been paid for by then."""
        self._alarm = Alarm()

    def kill(self, kills: int) -> Figures:
        """Kill this many processes, and return what it came to once every conversation is through."""
        began_s = time.monotonic()
        kinds = [kind for kind, _ in zip(cycle(KINDS), range(kills), strict=False)]
        self._rng.shuffle(kinds)
        with provider(self._alarm.heard, reply_s=self._reply_s) as served:
            self._job = replace(self._job, provider_url=served.base_url)
            self._served = served
            self._learn()
            for number in range(1, 3 * kills):
                if not kinds or time.monotonic() - began_s > BOUND_S:
                    break
                self._converse(f"{number:04d}", kinds)
            self._count(paid(served))
        self.figures.seconds = time.monotonic() - began_s
        return self.figures

    def _learn(self) -> None:
        """Run two conversations that nothing disturbs: what is to be told, and how long it takes."""
        process, began_s = start(self._named("0000", "sync")), time.monotonic()
        assert end(process) == 0
        self._run_s = time.monotonic() - began_s
        self._expected = told(self._job, "0000a")

    def _named(self, number: str, mode: Any) -> Job:
        return replace(self._job, threads=(f"{number}a", f"{number}b"), mode=mode)

    def _converse(self, number: str, kinds: list[Kind]) -> None:
        """Have two conversations, kill after kill, and compare what they tell with what is to be told."""
        job = self._named(number, self._rng.choice(["sync", "async"]))
        for _ in range(min(KILLS_A_RUN, len(kinds))):
            if not self._killed(job, kinds[-1]):
                break
            self.figures.kills[kinds.pop()] += 1
            self._look_into_store(job)
        else:
            assert run(job) == 0
        for name in job.threads:
            assert told(job, name) == self._expected, name
        self.figures.conversations += len(job.threads)

    def _killed(self, job: Job, kind: Kind) -> bool:
        """Run a process that is to be killed; False where it was through before."""
        reply = self._rng.randint(1, 6)
        if kind in ("read", "kept"):
            code = run(replace(job, death=Death(kind, reply)))
            assert code in (0, 9)
            return code == 9
        process = start(job)
        soon = self._rng.uniform(0, self._run_s if kind == "moment" else JUST_AFTER_S)
        timer = threading.Timer(soon, process.kill)
        self._alarm.set(timer, 0 if kind == "moment" else reply)
        process.join(PATIENCE_S)
        self._alarm.off()
        code = end(process)
        assert code in (0, -9)
        return code == -9

    def _look_into_store(self, job: Job) -> None:
        if job.store_url is None:
            return
        calls = len(paid(self._served))
        for reply in stored(job.store_url, job.threads):
            self._stored.setdefault(reply, calls)

    def _count(self, calls: list[Paid]) -> None:
        again = [(at, call) for at, call in enumerate(calls) if call in calls[:at]]
        of_stored = [call for at, call in again if call in self._stored and at >= self._stored[call]]
        self.figures.calls, self.figures.stored = len(calls), len(self._stored)
        self.figures.repeats_of_stored = len(of_stored)
        self.figures.repeats_of_others = len(again) - len(of_stored)


class Alarm:
    """Starts a timer at once, or when so many replies have been heard of, from whichever thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._replies = 0

    def set(self, timer: threading.Timer, replies: int) -> None:
        with self._lock:
            self._timer, self._replies = timer, replies
            if replies == 0:
                timer.start()

    def heard(self) -> None:
        with self._lock:
            self._replies -= 1
            if self._timer is not None and self._replies == 0:
                self._timer.start()

    def off(self) -> None:
        """Call the timer off, and wait for it where it is at work."""
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            if timer.is_alive():
                timer.join()


def saver_url(database_url: str, folder: Path) -> str:
    """Return where checkpoints go: a file of their own, or the server's database, beside everything else."""
    return f"sqlite:///{folder / 'checkpoints.sqlite'}" if database_url.startswith("sqlite") else database_url
