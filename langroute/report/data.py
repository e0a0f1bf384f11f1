"""Everything that a report says, as plain records: `dataclasses.asdict` gives what `--json` prints.

Money is in USD, times are in seconds, moments in Unix seconds. What is not known is None, never 0.
"""

from dataclasses import dataclass

from langroute.report.explorer import Explorer
from langroute.report.payoff import Payoff
from langroute.report.statistics import Kappa, Rate

__all__ = [
    "Agreement",
    "ArmRow",
    "Drift",
    "EndpointRow",
    "Flow",
    "Link",
    "MismatchRow",
    "PolicyRow",
    "ReportData",
    "Rise",
    "Saving",
    "ShadowRow",
    "StepRow",
    "Timeline",
    "Totals",
    "TriedRow",
    "VerifierRow",
]


@dataclass(frozen=True, slots=True)
class Saving:
    """What was spent beside what one tier everywhere would have cost, on the same decisions."""

    tier: str
    """The tier that would have answered everything."""
    compared: int
    """Decisions of which both costs are known; the sums are over these alone."""
    left_out: int
    """Decisions of which one is not."""
    cost_usd: float
    """Everything that was paid for them: rejected drafts, repairs, judges and classifiers too."""
    baseline_usd: float
    """Estimate: the returned replies' tokens and prompt cache at this tier's price, accepted at once."""

    @property
    def share(self) -> float | None:
        """Part of the baseline that was saved, negative for a loss; None where the baseline is 0."""
        return 1 - self.cost_usd / self.baseline_usd if self.baseline_usd > 0 else None


@dataclass(frozen=True, slots=True)
class Totals:
    """What all decisions, or those of one step, add up to."""

    decisions: int
    cost_usd: float
    """Everything paid whose cost is known."""
    unknown: int
    """Decisions with a part whose cost is unknown."""
    accepted_usd: float
    """Of the cost: calls whose reply was returned."""
    drafts_usd: float
    """Calls whose reply was rejected, or not returned for another reason."""
    failed_usd: float
    """Calls that failed or were cancelled."""
    checks_usd: float
    """Calls that verifiers made: judges, second opinions."""
    classifiers_usd: float
    """Calls that found out which step it was, or how hard."""
    shadows_usd: float
    """Calls to the top tier and its judges that measured how often a cheap reply is wrong."""
    accepted: Rate
    """Decisions that ended with an accepted reply."""
    escalated: Rate
    """Decisions in which a rejected reply led to a higher tier."""
    fell_back: Rate
    """Decisions in which a failed call led to another endpoint."""
    repaired: Rate
    """Decisions in which a rejected reply was asked for once more with what was found."""
    failed_calls: Rate
    """Calls that failed, of all calls."""
    misrouted: Rate | None
    """Accepted replies of a tier below the top that their label calls wrong; None: too few labels."""
    cheap_labels: int
    """Labels on accepted replies of a tier below the top."""


@dataclass(frozen=True, slots=True)
class TriedRow:
    """How one endpoint did on one step: what an estimate of another policy can rest on."""

    endpoint: str
    passed: Rate
    """Decisions in which the checks accepted a reply of it, of those in which it replied."""
    calls: float
    """Its replies in such a decision, repairs included; 1 without repairs."""
    latency_s: float
    """Mean seconds of a reply, its checks included."""
    right: Rate | None
    """Replies of it that were accepted and that a label calls right; None: too few labels."""
    labels: int


@dataclass(frozen=True, slots=True)
class StepRow:
    """A row of the routing worksheet."""

    step: str
    share: float
    """Of all decisions."""
    totals: Totals
    saving: Saving | None
    """Beside the top tier everywhere; None where nothing can be compared."""
    threshold: str
    """What a reply or a prompt must reach, as the policy given to the report says; "" without one."""
    primary: str
    """Endpoint that is planned first, in most decisions."""
    fallback: str
    """The other endpoints of its tier, which answer where it fails."""
    escalates_to: str
    """First endpoint of each higher tier planned, which answer where a reply is rejected."""
    input_tokens: float | None
    """Mean of a call."""
    output_tokens: float | None
    """Mean of a call."""
    verifiers: tuple[str, ...]
    """Those that gave a verdict, most frequent first."""
    passed: Rate
    """First replies that every check accepted, of all first replies."""
    latency_p50_s: float | None
    """Seconds of a decision, its checks included, within 1 %."""
    latency_p95_s: float | None
    cost_per_request_usd: float | None
    """Mean over the decisions whose cost is known."""
    cached_tokens: float | None
    """Of the input tokens those that came from the provider's prompt cache; mean of a call."""
    checks_usd: float | None
    """USD of the calls that verifiers made, mean of a reply; None where no such cost is known."""
    difficulties: tuple[float, ...]
    """Difficulty scores, each of an equal part of the decisions, lowest first; () where none was kept."""
    tried: tuple[TriedRow, ...]
    """The endpoints that replied, most often first."""
    reviewed: str
    """Day of the last review, as the policy given to the report says; "" without one."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Spend over time: one value a slice, all lists equally long."""

    slice_s: float
    """Seconds that a slice is long."""
    starts_s: tuple[float, ...]
    decisions: tuple[int, ...]
    cost_usd: tuple[float, ...]
    """Of decisions whose cost and top-tier cost are both known."""
    top_usd: tuple[float, ...]
    """The top tier everywhere, for the same decisions."""
    escalated: tuple[int, ...]
    failed_calls: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """How many decisions went from one node of the flow to another."""

    source: int
    target: int
    count: int


@dataclass(frozen=True, slots=True)
class Flow:
    """The way of the requests: from step through tiers and verdicts to what came of them."""

    nodes: tuple[tuple[str, str], ...]
    """Kind (`step`, `tier`, `rejected`, `failed`, `returned`, `none`) and name."""
    links: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """What one policy cost and how good its replies were."""

    policy: str
    """Digest."""
    decisions: int
    cost_per_request_usd: float | None
    accepted: Rate
    """Decisions that ended with an accepted reply."""
    right: Rate | None
    """Labelled decisions that the label calls right; None: too few labels."""
    labels: int
    saving: Saving | None


@dataclass(frozen=True, slots=True)
class ArmRow:
    """What one arm of a policy and its canary came to."""

    arm: str
    """`main` or `canary`."""
    policies: tuple[str, ...]
    """Digests of the policies that decided in it, most frequent first."""
    decisions: int
    cost_per_request_usd: float | None
    """Mean over the decisions whose cost is known."""
    cost_low_usd: float | None
    """Lower end of its 95 % interval; None for fewer than two."""
    cost_high_usd: float | None
    accepted: Rate
    escalated: Rate
    latency_p50_s: float | None
    latency_p95_s: float | None
    right: Rate | None
    """Labelled decisions that the label calls right; None: too few labels."""
    labels: int


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """How one endpoint did."""

    endpoint: str
    models: tuple[str, ...]
    """Models that answered under its name, as the provider reports them, most frequent first."""
    calls: int
    """Attempts made."""
    asked: int
    """Questions that verifiers and classifiers put to it, beside the attempts."""
    failed: Rate
    kinds: tuple[tuple[str, int], ...]
    """Failures by kind, most frequent first."""
    cost_usd: float
    """Of the calls whose cost is known, those of verifiers and classifiers too."""
    latency_p50_s: float | None
    latency_p95_s: float | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far verdicts and people's labels agree, over the returned replies that have both."""

    labels: int
    drawn: bool
    """Whether all of them were drawn (`langroute label`) and weighed, so that the rates are those of every
    reply that could have been; else they came by themselves, and hold for what struck somebody."""
    false_accept: Rate
    """Accepted replies that the label calls wrong, of all that were accepted."""
    false_reject: Rate
    """Rejected replies that the label calls right, of all that were rejected and yet returned."""
    agreed: Rate
    """Replies of which verdict and label say the same."""
    kappa: Kappa | None
    """Agreement beyond chance (Cohen); None where verdicts or labels all say the same."""


@dataclass(frozen=True, slots=True)
class VerifierRow:
    """What one verifier said, and how right that was."""

    verifier: str
    rejected: Rate
    unsure: int
    """Verdicts in which the check itself failed."""
    agreement: Agreement | None
    """None: too few labels."""
    labels: int
    """People's labels on the replies that it judged; the drawn ones alone where there are enough of them."""


@dataclass(frozen=True, slots=True)
class ShadowRow:
    """What the top tier says to a sample of a step's cheap replies."""

    step: str
    misrouted: Rate
    """Cheap replies that were accepted and wrong where the top tier's was right, of those compared."""
    neither: int
    """Of those compared: both replies wrong."""
    unsure: int
    """Comparisons that the judge decides otherwise when the two change places; not in the rate."""
    lost: tuple[tuple[str, int], ...]
    """Replies that were drawn and not compared, by `ShadowRecord.outcome`, most frequent first."""
    cost_usd: float
    """Of the calls whose cost is known."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How far one measure moved from the reference to the recent decisions."""

    measure: str
    """`difficulty`, `step mix`, `acceptance` or `latency`."""
    psi: float | None
    p_value: float | None
    """Chance that it moves as far by itself, all four tests allowed for (Holm 1979); None: too few slices."""
    reference: int
    recent: int
    bins: tuple[str, ...]
    reference_shares: tuple[float, ...]
    recent_shares: tuple[float, ...]
    verdict: str
    """`drifted`, `moved a little`, `steady`, `may be chance` or `too little to say`."""


@dataclass(frozen=True, slots=True)
class Rise:
    """Whether one endpoint fails more often than it did in the reference."""

    endpoint: str
    before: Rate
    """Calls that failed, of the calls made; what a circuit or a budget refused is no call."""
    recent: Rate
    p_value: float | None
    """Chance that it rises as far by itself, all endpoints allowed for (Holm 1979); None: too few slices."""
    verdict: str
    """`rose`, `may be chance`, `steady` or `too little to say`."""


@dataclass(frozen=True, slots=True)
class MismatchRow:
    """Calls that a node or the caller declared to be one step and that look like another."""

    step: str
    looks_like: str
    calls: Rate
    """Of the step's decisions."""


@dataclass(frozen=True, slots=True)
class ReportData:
    """The whole report."""

    ledger: str
    """Where the decisions come from, without a password."""
    since_s: float
    """Moment of the first decision."""
    until_s: float
    """Moment of the last."""
    recent_s: float
    """Moment from which on a decision counts as recent: the last quarter of the period."""
    headline: str
    assumption: str
    lately: str
    """Whether it is still paying off, in a sentence or two."""
    payoff: Payoff
    """What that rests on."""
    totals: Totals
    top: Saving | None
    """Beside the top tier everywhere; None where nothing can be compared."""
    savings: tuple[Saving, ...]
    """Beside each tier everywhere, cheapest first."""
    before: Saving | None
    """Beside the top tier, before the recent decisions."""
    recent: Saving | None
    """Beside the top tier, in the recent decisions."""
    labels: int
    """Decisions that have a label."""
    labels_note: str
    """What rates by labels rest on."""
    drawn_labels: int
    """Those of them that were drawn to be labelled."""
    least_labels: int
    """Labels below which no rate is given."""
    steps: tuple[StepRow, ...]
    """The worksheet, dearest first."""
    timeline: Timeline
    flow: Flow
    policies: tuple[PolicyRow, ...]
    arms: tuple[ArmRow, ...]
    """The policy beside its canary; none where it has none."""
    endpoints: tuple[EndpointRow, ...]
    verifiers: tuple[VerifierRow, ...]
    shadows: tuple[ShadowRow, ...]
    """Steps that are shadowed: the measured misroute rate of each."""
    drift: tuple[Drift, ...]
    rises: tuple[Rise, ...]
    """Failures of each endpoint, recently and before."""
    mismatches: tuple[MismatchRow, ...]
    omitted: tuple[str, ...]
    """What was left out of a table because there were too many different names."""
    explorer: Explorer | None = None
    """What other thresholds would come to; None where it was not asked for, or cannot be worked out here."""
