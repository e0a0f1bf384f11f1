"""A small known chance for every tier to be where a step starts: its log can then be judged without bias."""

from collections.abc import Sequence
from itertools import chain

from langroute.chance import place
from langroute.request import Request
from langroute.routing.limits import Candidates

__all__ = ["explored"]


def explored(
    share: float, tiers: Sequence[Candidates], start: int, request: Request, step: str, reasons: list[str]
) -> tuple[int, float]:
    """Return the rung to start at, and how likely that was.

    Of n rungs each is drawn with the chance `share`, and else `start` stays. What is drawn hangs on a digest
    of step, thread and messages alone: the same on every machine and in a replay, and for a request that is
    made again. A conversation whose prefix an endpoint has cached is left where it is, whose chance is 1.

    Args:
        share: Chance of each rung; a checked policy leaves at least half of all chance to its own choice.
        tiers: The rungs that nothing forbids and that are not below what stakes and rules demand.
        start: The rung that the policy chose among them.
        request: The request.
        step: Its step.
        reasons: Where a drawn start is noted.
    """
    if len(tiers) == 1 or request.holder is not None:
        return start, 1.0
    drawn = int(_position(request, step) / share)
    at = drawn if drawn < len(tiers) else start
    if at != start:
        reasons.append(f"explores: starts at {tiers[at].tier}, which had a chance of {share:g}")
        return at, share
    return start, 1 - share * (len(tiers) - 1)


def _position(request: Request, step: str) -> float:
    """Return where a request of a step and a thread lies in [0, 1)."""
    thread = str(request.metadata.get("thread_id", ""))
    texts = zip(request.messages, request.texts, strict=True)
    messages = (f"{message.type}\0{text}\0" for message, text in texts)
    return place(chain((f"{step}\0{thread}\0",), messages), "explore")
