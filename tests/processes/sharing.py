"""A process that shares its breakers: see `tests/ledger/test_ledger_fleets.py`.

    python sharing.py URL FOLDER OPEN_S      does what it is told by a line, and answers with one
    python sharing.py URL FOLDER OPEN_S fork the same in the child of a fork, after a call in the parent

The primary fails while FOLDER/down is there and hangs while FOLDER/hang is; its calls are lines in
FOLDER/calls: the process, and when the call began and ended in seconds of the machine's monotonic clock.
"""

import json
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from langchain_core.exceptions import ModelTimeoutError
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult

from langroute import RoutedChatModel, breaker
from langroute.testing import ScriptedChatModel

URL, FOLDER = sys.argv[1], Path(sys.argv[2])
breaker.OPEN_S = float(sys.argv[3])
breaker.OPEN_AT_MOST_S = 2 * breaker.OPEN_S


class Primary(ScriptedChatModel):
    """Fails and hangs when it is told to."""

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        began_s = time.monotonic()
        note("began", began_s)
        while (FOLDER / "hang").exists():
            time.sleep(0.02)
        try:
            if (FOLDER / "down").exists():
                raise ModelTimeoutError("timed out")
            return super()._generate(messages, *args, **kwargs)
        finally:
            note("ended", began_s)


def note(what: str, began_s: float) -> None:
    line = json.dumps([what, os.getpid(), began_s, time.monotonic()])
    with (FOLDER / "calls").open("a") as calls:
        calls.write(f"{line}\n")


def routed() -> RoutedChatModel:
    primary = {"model": Primary(name="primary", reply="Good."), "name": "primary"}
    secondary = {"model": ScriptedChatModel(name="secondary", reply="Good."), "name": "secondary"}
    return RoutedChatModel({"tiers": {"small": {"models": [primary, secondary]}}}, ledger=URL)


class Worker:
    def __init__(self, model: RoutedChatModel) -> None:
        self.model = model
        self.busy = threading.Event()
        self.slowest_s = 0.0
        self.lock, self.flying = threading.Lock(), list[threading.Thread]()
        threading.Thread(target=self.traffic, daemon=True).start()

    def call(self, number: int) -> None:
        began_s = time.monotonic()
        assert self.model.invoke(f"When, {number}?").text == "Good."
        if not (FOLDER / "hang").exists():
            self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)

    def traffic(self) -> None:
        """Make 20 calls a second while it is busy, each in a thread: one that hangs keeps nobody."""
        while self.busy.wait():
            with self.lock:
                if self.busy.is_set():
                    self.flying.append(threading.Thread(target=self.call, args=(0,), daemon=True))
                    self.flying[-1].start()
            time.sleep(0.05)

    def stop(self) -> None:
        """Make no more calls, and wait for those under way."""
        with self.lock:
            self.busy.clear()
            flying, self.flying = self.flying, []
        for call in flying:
            call.join()

    def told(self, what: str) -> Any:
        if what == "on":
            self.busy.set()
        elif what == "off":
            self.stop()
        elif what == "slowest":
            return self.slowest_s
        elif what.startswith("calls "):
            for number in range(int(what.split()[1])):
                self.call(number)
        return self.model.router.health()["primary"]


def main() -> None:
    model = routed()
    model.invoke("When?")
    if "fork" in sys.argv and os.fork():
        with suppress(ChildProcessError):
            os.wait()
        return
    worker = Worker(model)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(worker.told(line.strip())) + "\n")
        sys.stdout.flush()


main()
