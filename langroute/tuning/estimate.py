"""What policies are expected to cost, take, get right and put at risk on the same traffic, before one ships.

Each step is walked as its cascade would be: its first tier answers, and what its checks reject goes to the
next. How often a model passes, how fast and how good it is, is read off the routing worksheet; prices are
those that the router itself knows. What the worksheet does not tell is unknown, and so is every sum with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from langroute.cascade import Choice, Plan, Rung
from langroute.cost import total_usd
from langroute.endpoints import Endpoint, Endpoints
from langroute.policy import Policy, StepPolicy
from langroute.report.worksheet import Sheet, Tried
from langroute.tuning.replay import Logged, plan_under

__all__ = ["ASSUMPTIONS", "Expected", "PolicyEstimate", "StepEstimate", "estimate"]

ASSUMPTIONS = (
    "A model passes, and takes as long, as it did on the step so far, whichever tier came before it.",
    "Every model reads and writes as many tokens as the step's calls did on average; prices are today's.",
    "Its provider's cache holds as much of the prompt as it did.",
    "The first endpoint of each tier answers: no call fails. Rules, tools and stakes start no step higher.",
    "Checks of the same names pass as often as they did, whatever their settings, and cost what they did.",
    "A classifier is asked as often as it was.",
    "A reply that no check accepted counts as wrong. Quality is by labels, from 20 of them on.",
)
"""What every estimate takes for granted; to be shown beside it."""


@dataclass(frozen=True, slots=True)
class Expected:
    """Means of a request; None where a part is unknown."""

    cost_usd: float | None
    latency_s: float | None
    quality: float | None
    """Share of the requests that are answered right."""
    risk_usd: float | None
    """Share that is answered wrong, times the step's `failure_cost_usd`."""


@dataclass(frozen=True, slots=True)
class StepEstimate:
    """One step under one policy."""

    step: str
    share: float
    """Of all requests."""
    way: tuple[tuple[str, float | None], ...]
    """Each model in the order in which it is asked, and the share of the requests that reach it."""
    was_usd: float | None
    """What a request did cost."""
    expected: Expected
    unknown: tuple[str, ...]
    """Why something is."""


@dataclass(frozen=True, slots=True)
class PolicyEstimate:
    """Everything under one policy."""

    policy: str
    digest: str
    requests: float
    steps: tuple[StepEstimate, ...]
    expected: Expected
    """Over all steps, by their traffic."""
    cost_usd: float | None
    """USD of all requests of the worksheet."""
    was_usd: float | None
    """What they did cost."""


@dataclass(slots=True)
class _Sums:
    """What adds up along a cascade; None as soon as a part is unknown."""

    cost_usd: float | None = 0.0
    latency_s: float | None = 0.0
    right: float | None = 0.0
    reached: dict[str, float | None] = field(default_factory=dict)

    def add(self, name: str, weight: float | None, cost: float | None, latency: float | None) -> None:
        """Add a model that a share of the requests reaches."""
        self.cost_usd = total_usd((self.cost_usd, _times(weight, cost)))
        self.latency_s = total_usd((self.latency_s, _times(weight, latency)))
        self.reached[name] = total_usd((self.reached.get(name, 0.0), weight))


def estimate(name: str, policy: Policy, sheets: Sequence[Sheet]) -> PolicyEstimate:
    """Return what a policy is expected to come to on the traffic of a worksheet.

    Args:
        name: What to call the policy.
        policy: The policy.
        sheets: The rows of the worksheet.

    Raises:
        ValueError: No row has a request.
    """
    requests = sum(sheet.requests for sheet in sheets)
    if not requests:
        raise ValueError("no step of the worksheet has a request: write how many in its column requests")
    walk = _Walk(policy)
    steps = tuple(walk.step(sheet, sheet.requests / requests) for sheet in sheets)
    told = {
        what: total_usd(_times(step.share, getattr(step.expected, what)) for step in steps if step.share)
        for what in ("cost_usd", "latency_s", "quality", "risk_usd")
    }
    expected = Expected(**told)
    was_usd = total_usd(_times(sheet.requests, sheet.cost_per_request_usd) for sheet in sheets)
    cost_usd = _times(requests, expected.cost_usd)
    return PolicyEstimate(name, policy.digest, requests, steps, expected, cost_usd, was_usd)


class _Walk:
    """Walks the steps of one policy."""

    def __init__(self, policy: Policy) -> None:
        self._policy, self._endpoints = policy, Endpoints(policy)
        self._replan = plan_under(policy)

    def step(self, sheet: Sheet, share: float) -> StepEstimate:
        """Return what is expected of one step."""
        binding = self._policy.step(sheet.step)
        reasons: dict[str, None] = {}
        sums = _Sums()
        for tiers, part in self._starts(sheet, binding, reasons).items():
            self._climb(sheet, binding, tiers, part, sums, reasons)
        if self._policy.classify.model is not None:
            sums.cost_usd = total_usd((sums.cost_usd, sheet.classifiers_usd))
            if sheet.classifiers_usd is None:
                reasons["what the classifier costs: the worksheet has no classifiers_per_request_usd"] = None
        if sums.right is not None and binding.failure_cost_usd is None:
            reasons["the policy states no failure_cost_usd"] = None
        wrong = None if sums.right is None else 1 - sums.right
        expected = Expected(
            sums.cost_usd, sums.latency_s, sums.right, _times(wrong, binding.failure_cost_usd)
        )
        way = tuple(sums.reached.items())
        return StepEstimate(sheet.step, share, way, sheet.cost_per_request_usd, expected, tuple(reasons))

    def _starts(
        self, sheet: Sheet, binding: StepPolicy, reasons: dict[str, None]
    ) -> dict[tuple[str, ...], float | None]:
        """Return the tiers that requests may climb, by where they start, and the share of each."""
        cascade = tuple(binding.cascade)
        if len(cascade) == 1 or (binding.route.difficulty is None and binding.route.learned is None):
            return {cascade: 1.0}
        if binding.route.learned is not None:
            reasons["where requests start: a learned score says it, prompt by prompt"] = None
            return {cascade: None}
        if not sheet.difficulties:
            reasons["where requests start: the worksheet has no difficulties"] = None
            return {cascade: None}
        found: dict[tuple[str, ...], float | None] = {}
        for difficulty in sheet.difficulties:
            plan = Plan(sheet.step, (Rung(cascade[0], (Choice(""),)),))
            tiers = tuple(rung.tier for rung in self._replan(Logged(plan, (), difficulty=difficulty)).rungs)
            found[tiers] = (found.get(tiers) or 0.0) + 1 / len(sheet.difficulties)
        return found

    def _climb(
        self,
        sheet: Sheet,
        binding: StepPolicy,
        tiers: Sequence[str],
        reach: float | None,
        sums: _Sums,
        reasons: dict[str, None],
    ) -> None:
        """Add what requests come to that start at the first of these tiers."""
        checks_usd = _checks_usd(sheet, binding, reasons)
        for number, tier in enumerate(tiers):
            endpoint = self._endpoints.allowed(tier, binding.boundary)[0]
            tried = sheet.tried.get(endpoint.name)
            passed = _pass_rate(sheet, binding, endpoint.name, tried, reasons)
            calls = tried.calls if binding.repair and tried and tried.calls else 1.0
            call_usd = _call_usd(endpoint, sheet, reasons)
            latency_s = endpoint.expected_s if tried is None or tried.latency_s is None else tried.latency_s
            if latency_s is None:
                reasons[f"how long {endpoint.name} takes: the step never tried it"] = None
            own_usd = total_usd((call_usd, checks_usd))
            sums.add(endpoint.name, reach, _times(calls, own_usd), _times(calls, latency_s))
            quality = _quality(sheet, binding, endpoint.name, tried, reasons)
            sums.right = total_usd((sums.right, _times(_times(reach, passed), quality)))
            if passed == 1:
                return
            if number + 1 < len(tiers):
                reach = _times(reach, None if passed is None else 1 - passed)


def _call_usd(endpoint: Endpoint, sheet: Sheet, reasons: dict[str, None]) -> float | None:
    if sheet.input_tokens is None or sheet.output_tokens is None:
        reasons["what a call costs: the worksheet has no mean tokens"] = None
        return None
    tokens = (sheet.input_tokens, sheet.output_tokens, sheet.cached_tokens or 0.0)
    found = endpoint.expected_usd(*(round(count) for count in tokens))
    if found is None:
        reasons[f"what {endpoint.name} costs: state its price in the policy"] = None
    return found


def _checks_usd(sheet: Sheet, binding: StepPolicy, reasons: dict[str, None]) -> float | None:
    """Return what the checks of one reply cost: those that call models must have run in the worksheet."""
    asking = {verifier.name for verifier in binding.verify if verifier.asks}
    if not asking:
        return 0.0
    if asking <= sheet.verifiers and sheet.checks_usd is not None:
        return sheet.checks_usd
    names = ", ".join(sorted(asking))
    reasons[f"what {names} costs: the worksheet's checks_per_reply_usd and verifiers do not tell"] = None
    return None


def _pass_rate(
    sheet: Sheet, binding: StepPolicy, name: str, tried: Tried | None, reasons: dict[str, None]
) -> float | None:
    if not binding.verify:
        return 1.0
    if (lacks := _lacking(sheet, binding, name, tried)) is not None:
        reasons[lacks] = None
        return None
    if tried is None or tried.pass_rate is None:
        reasons[f"how often {name} passes: the step never tried it"] = None
        return None
    return tried.pass_rate


def _quality(
    sheet: Sheet, binding: StepPolicy, name: str, tried: Tried | None, reasons: dict[str, None]
) -> float | None:
    if tried is not None and (lacks := _lacking(sheet, binding, name, tried)) is not None:
        reasons[lacks] = None
        return None
    if tried is None or tried.quality is None:
        reasons[f"how good {name} is: the step has too few labels on its replies, or none"] = None
        return None
    return tried.quality


def _lacking(sheet: Sheet, binding: StepPolicy, name: str, tried: Tried | None) -> str | None:
    """Return why the worksheet's rates do not hold under a policy's checks; None where they do."""
    wanted = {verifier.name for verifier in binding.verify}
    if wanted != sheet.verifiers:
        there = ", ".join(sorted(sheet.verifiers)) or "no check"
        return f"how often replies pass {', '.join(sorted(wanted)) or 'no check'}: the worksheet has {there}"
    if not binding.repair and tried is not None and (tried.calls or 1.0) > 1:
        return f"how often {name} passes without repairs: the worksheet counts them"
    return None


def _times(one: float | None, other: float | None) -> float | None:
    """Return a product, 0 where one side is 0 whatever the other is; None where it is unknown."""
    if one == 0 or other == 0:
        return 0.0
    return None if one is None or other is None else one * other
