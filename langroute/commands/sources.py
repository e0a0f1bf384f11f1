"""Where the learning commands read from: a ledger, or a file of outcomes."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langroute.commands.terminal import bad_input, opened_ledger

if TYPE_CHECKING:
    from langroute.ledger.ledger import Ledger
    from langroute.policy import Policy
    from langroute.tuning.outcomes import Outcome
    from langroute.tuning.recorded import Found, Reading
    from langroute.tuning.replay import Logged

__all__ = ["Source", "needs_tune"]

Progress = Callable[[int, int], None]

_EVERY = 1_000


def needs_tune() -> None:
    """Say what to install where learning is not; called before anything is imported that learns."""
    if not all(map(find_spec, ("numpy", "scipy", "sklearn", "joblib"))):
        raise bad_input("learning needs scikit-learn, scipy and joblib: pip install 'langroute[tune]'")


@dataclass(slots=True)
class Source:
    """What a command was given to learn from; one of a file and a ledger.

    Args:
        file: A file of outcomes; None for a ledger.
        ledger: The ledger; not looked at where there is a file.
        steps: The steps that are wanted; all where there are none. A row of a file that names no step is
            of the one that is wanted.
        judged_by: Verifier whose score stands for feedback.
        tenant_key: Kept metadata key that says whose a request is.
        since: From this moment on, as a person writes it.
        until: Before this moment.
    """

    file: Path | None
    ledger: str | None
    steps: Sequence[str]
    judged_by: str | None = None
    tenant_key: str = "tenant"
    since: str | None = None
    until: str | None = None
    _found: dict[str, "Found"] = field(default_factory=dict)
    """Step to what the ledger had; "" for all of them together."""
    _rows: int = 0

    def __post_init__(self) -> None:
        self.steps = list(dict.fromkeys(self.steps))
        if self.file is None and self.ledger is None:
            raise bad_input("say what to learn from: --ledger, or a file of outcomes")
        if self.file is not None and not self.file.is_file():
            raise bad_input(f"there is no file {self.file}")

    @property
    def told(self) -> dict[str, Any]:
        """What was read, as plain JSON types."""
        if self.file is not None:
            return {"file": str(self.file), "outcomes": self._rows}
        return {step or "all": asdict(found) for step, found in self._found.items()}

    @property
    def summary(self) -> str:
        """The same in a line or two."""
        if self.file is not None:
            return f"{self.file}: {self._rows:,} outcomes"
        return "\n".join(f"{step or 'all steps'}: {found.summary}" for step, found in self._found.items())

    def outcomes(
        self, progress: Progress, *, text: bool = True, shadows: bool = False
    ) -> "Iterator[Outcome]":
        """Yield the outcomes, one at a time; without their text where it is not wanted."""
        if self.file is not None:
            yield from self._from_file(self.file, progress)
            return
        with self._readings(progress) as readings:
            for step, reading in readings:
                yield from reading.outcomes(text=text, shadows=shadows)
                self._found[step] = reading.found

    def alike(self, progress: Progress, kind: str) -> "list[Outcome]":
        """Return the outcomes, all read in the same way: with texts only where all that is read has them.

        Only the reply that was returned has a text: with drafts that were judged, replies are read without.
        """
        from langroute.tuning.features import HARD

        rows = list(self.outcomes(progress))
        lacking = any(found.with_text < found.decisions for found in self._found.values())
        if kind == "reply":
            lacking = lacking or any(found.drafts_labelled for found in self._found.values())
        some = any(found.with_text for found in self._found.values())
        if lacking and some:
            return list(self.outcomes(progress, text=False))
        if some:  # what the records hold adds nothing to a text, and takes time at run time
            prompts = (row.prompt.kept(lambda name: not name.startswith(HARD)) for row in rows)
            return [replace(row, prompt=prompt) for row, prompt in zip(rows, prompts, strict=True)]
        return rows

    def logs(self, progress: Progress, policy: "Policy") -> "dict[str, list[Logged]]":
        """Return the runs that can be replayed, by step."""
        if self.file is not None:
            from langroute.tuning.replaying import logs_of

            return logs_of(self._from_file(self.file, progress), policy)
        runs: dict[str, list[Logged]] = defaultdict(list)
        with self._readings(progress) as readings:
            for step, reading in readings:
                for record, logged in reading.logged():
                    runs[record.step].append(logged)
                self._found[step] = reading.found
        return dict(runs)

    @contextmanager
    def _readings(self, progress: Progress) -> "Iterator[Iterator[tuple[str, Reading]]]":
        """Give the readings of an open ledger, one a step."""
        with opened_ledger(self.ledger or "") as opened:
            yield ((step, self._reading(opened, step, progress)) for step in self.steps or [""])

    def _reading(self, ledger: "Ledger", step: str, progress: Progress) -> "Reading":
        from langroute.ledger.reading import Filter
        from langroute.tuning.recorded import Reading

        since_s, until_s = self._span()
        wanted = Filter(step=step or None, since_s=since_s, until_s=until_s)
        return Reading(ledger, wanted, self.judged_by, self.tenant_key, progress)

    def _from_file(self, file: Path, progress: Progress) -> "Iterator[Outcome]":
        from langroute.tuning.outcomes import OutcomeError, read_outcomes

        since_s, until_s = self._span()
        first, last = "" if since_s is None else _day(since_s), None if until_s is None else _day(until_s)
        only = self.steps[0] if len(self.steps) == 1 else ""
        self._rows = 0
        try:
            for outcome in read_outcomes(file):
                self._rows += 1
                if self._rows % _EVERY == 0:
                    progress(self._rows, self._rows)
                told = outcome if outcome.step else replace(outcome, step=only)
                in_span = not told.day or (first <= told.day and (last is None or told.day < last))
                if in_span and (not self.steps or told.step in ("", *self.steps)):
                    yield told
        except (OutcomeError, ImportError, OSError, UnicodeDecodeError) as error:
            raise bad_input(str(error)) from None

    def _span(self) -> tuple[float | None, float | None]:
        from langroute.report.making import moment

        now = datetime.now(UTC)
        return moment(self.since, now), moment(self.until, now)


def _day(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).date().isoformat()
