"""`make mutation`: makes every small change that mutmut knows, and tells which of them the tests notice.

mutmut writes a copy of the code in which each changed function stands beside the original, to be switched on
by its name. One process collects the tests and runs them once unchanged, which tells what each reaches and
how long it takes. Every mutant is then a fork of that process: nothing is started or collected again. It runs
the tests that reach its function, first those that noticed another change of it, then the quick ones, until
one fails. Nothing is left out of the count: a mutant that no test reaches, one that hung and one that was not
run by the end all count as not noticed. A run that was ended goes on where it was while `mutants/` stays.
"""

import gc
import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from mutmut import __main__ as mutmut
from mutmut.configuration import config
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state
from mutmut.utils.file_utils import change_cwd
from rich.console import Console
from rich.table import Table

__all__: list[str] = []

AT_LEAST = 0.9
AT_ONCE = 2
IN_ALL_S = 29 * 60.0

HANGS_S, WAITS_S = 10.0, 120.0
"""A test that takes so much CPU beyond its own, or so long in all, hangs."""

SLOW_S = 0.1
"""CPU of a test that is left for the end."""

QUICKLY = ("--rootdir=.", "-s", "-q", "--tb=native", "--assert=plain")
"""A test that fails is told by that alone: why takes many times longer to work out."""

STATES = {"noticed": 1, "hung": 36, "survived": 0, "unreached": 33, "broken": 35, "not run": None}
"""Exit codes as mutmut keeps them, so that `mutmut results` and `mutmut show` tell of the mutants."""


class Mutants:
    """A pytest plugin that runs the collected tests over each mutant, instead of once."""

    def __init__(self, modules: dict[str, SourceFileMutationData]) -> None:
        self._modules = modules
        """The module of each mutant that is to be run."""
        self._reached: defaultdict[str, list[int]] = defaultdict(list)
        self._took_s: list[float] = []
        self._noticed: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self._running: dict[int, tuple[str, int]] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        until_s = time.monotonic() + IN_ALL_S
        self._survey(session)
        if session.testsfailed:
            raise pytest.UsageError("the tests fail without any change: mend them first")
        gc.collect()
        gc.freeze()  # or each fork would copy what its own collections look at
        say(f"the tests take {sum(self._took_s):.0f} s, {len(self._modules)} mutants")
        for at, name in enumerate(self._modules):
            if time.monotonic() > until_s:
                break
            if at % 100 == 0:
                say(f"{at} run")
            tests = self._order(name, session.items)
            if not tests:
                self._keep(name, "unreached")
                continue
            if len(self._running) == AT_ONCE:
                self._reap()
            self._fork(session, name, tests)
        while self._running:
            self._reap()
        return True

    def _survey(self, session: pytest.Session) -> None:
        """Run every test once, to learn what it reaches and how much CPU it takes."""
        set_mutant_under_test("stats")
        for at, (item, following) in enumerate(pairwise([*session.items, None])):
            started_s = time.process_time()
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            self._took_s.append(time.process_time() - started_s)
            for function in state()._stats:
                self._reached[function].append(at)
            state()._stats.clear()

    def _order(self, name: str, items: list[pytest.Item]) -> list[int]:
        """Return the tests that reach a mutant's function, the likeliest to notice and the quickest first."""
        reached, noticed = self._reached[function_of(name)], self._noticed[function_of(name)]
        files: defaultdict[Path, list[float]] = defaultdict(list)
        for at in reached:
            files[items[at].path].append(min(self._took_s[at], SLOW_S))
        mean_s = {path: sum(took) / len(took) for path, took in files.items()}

        def place(at: int) -> tuple[float, ...]:
            took_s = self._took_s[at]
            return -noticed[at], took_s > SLOW_S, mean_s[items[at].path], took_s

        return sorted(reached, key=place)

    def _fork(self, session: pytest.Session, name: str, tests: list[int]) -> None:
        told, tell = os.pipe()
        child = os.fork()
        if child:
            os.close(tell)
            self._running[child] = name, told
            return
        state_of = "broken"
        try:
            state_of = self._run(session, name, tests, tell)
        except (KeyboardInterrupt, pytest.exit.Exception):
            state_of = "noticed"
        finally:
            os._exit(STATES[state_of] or 0)

    def _run(self, session: pytest.Session, name: str, tests: list[int], tell: int) -> str:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # each ends the process
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        set_mutant_under_test(name)
        for at, following in pairwise([*tests, None]):
            signal.setitimer(signal.ITIMER_PROF, HANGS_S + 10 * self._took_s[at])
            signal.setitimer(signal.ITIMER_REAL, WAITS_S)
            nextitem = None if following is None else session.items[following]
            session.config.hook.pytest_runtest_protocol(item=session.items[at], nextitem=nextitem)
            if session.testsfailed:
                os.write(tell, b"%d" % at)
                return "noticed"
        return "survived"

    def _reap(self) -> None:
        child, status = os.wait()
        if child not in self._running:
            return
        name, told = self._running.pop(child)
        with os.fdopen(told, "rb") as pipe:
            test = pipe.read()
        if test:
            self._noticed[function_of(name)][int(test)] += 1
        code = os.waitstatus_to_exitcode(status)
        if code in (-signal.SIGALRM, -signal.SIGPROF):
            code = STATES["hung"]
        self._keep(name, next((word for word, known in STATES.items() if known == code), "broken"))

    def _keep(self, name: str, word: str) -> None:
        self._modules[name].exit_code_by_key[name] = STATES[word]
        self._modules[name].save()
        if word != "noticed":
            say(f"{word}: {name}")


def say(line: str) -> None:
    print(f"\n{line}", flush=True)  # noqa: T201


def function_of(name: str) -> str:
    return name.partition("__mutmut_")[0]


def made() -> Iterator[SourceFileMutationData]:
    """Make the mutants of all modules, and yield what there are of each."""
    Path("mutants").mkdir(exist_ok=True)
    mutmut.copy_src_dir()
    mutmut.copy_also_copy_files()
    mutmut.setup_source_paths()
    mutmut.create_mutants(AT_ONCE)
    for path in sorted(mutmut.walk_mutatable_files()):
        data = SourceFileMutationData(path=path)
        data.meta_path = Path("mutants").absolute() / f"{path}.meta"
        data.load()
        yield data


def main(*parts: str) -> int:
    """Run the mutants of the modules whose path has one of these in it, of all without any."""
    modules = [data for data in made() if any(part in str(data.path) for part in parts or ("",))]
    if not modules:
        sys.exit(f"no module of [tool.mutmut] has {' or '.join(parts)} in its path")
    names = {name: data for data in modules for name, code in data.exit_code_by_key.items() if code != 1}
    with change_cwd("mutants"):
        settings = [*config().pytest_add_cli_args, *config().pytest_add_cli_args_test_selection]
        pytest.main([*QUICKLY, *settings], plugins=[Mutants(names)])
    table = Table("module", "mutants", *STATES, "score")
    scores = []
    for module in modules:
        codes = Counter(module.exit_code_by_key.values())
        scores.append(codes[STATES["noticed"]] / codes.total())
        counts = [str(codes[code]) for code in STATES.values()]
        table.add_row(str(module.path), str(codes.total()), *counts, f"{scores[-1]:.1%}")
    Console(width=110).print(table)
    return int(min(scores) < AT_LEAST)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
