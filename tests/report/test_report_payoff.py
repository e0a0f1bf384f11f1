"""Whether routing is still paying off: the number, its interval by thread, its trend, and what is said."""

import dataclasses
import math
import random
from collections import defaultdict

import numpy as np
import pytest
from made_decisions import DAY_S, START_S
from scipy import stats

from langroute.report.figures import Figures
from langroute.report.payoff import GROUPS, LEAST_GROUPS, Estimate, Groups, group_of
from langroute.report.slices import MOST_PERIODS
from langroute.report.statistics import student_95
from langroute.report.wording import percent


def known(made, data):
    """Return saving, baseline, thread and side of each decision of which both costs are known."""
    return [
        (r.top_usd - r.cost_usd, r.top_usd, r.thread, r.decided_at_s >= data.recent_s)
        for r, _ in made
        if r.cost_usd is not None and r.top_usd is not None
    ]


# The number ----------------------------------------------------------------------------------------------


def test_the_saving_a_week_is_the_sum_over_the_weeks(made, data):
    recent = [saved for saved, _, _, late in known(made, data) if late]
    weeks = (data.until_s - data.recent_s) / (7 * DAY_S)
    assert data.payoff.per == "week"
    assert data.payoff.recent_usd.value == pytest.approx(sum(recent) / weeks)
    whole = sum(saved for saved, *_ in known(made, data)) / ((data.until_s - data.since_s) / (7 * DAY_S))
    assert data.payoff.whole_usd.value == pytest.approx(whole)


def test_the_part_saved_is_that_of_the_sums(data):
    assert data.payoff.recent_share.value == pytest.approx(data.recent.share)
    assert data.payoff.before_share.value == pytest.approx(data.before.share)
    assert data.payoff.change.value == pytest.approx(data.recent.share - data.before.share)


def test_periods_add_up_to_everything_and_stay_few(made, data):
    periods = data.payoff.periods
    assert (data.payoff.period, data.payoff.period_s) == ("week", 7 * DAY_S)
    assert 8 <= len(periods) <= MOST_PERIODS
    assert sum(each.requests for each in periods) == data.top.compared
    saved = sum(each.saved_usd.value for each in periods)
    assert saved == pytest.approx(data.top.baseline_usd - data.top.cost_usd)
    starts = [each.start_s for each in periods]
    assert all((start - starts[0]) % (7 * DAY_S) == 0 for start in starts)
    first = [r for r, _ in made if r.decided_at_s < starts[1] and None not in (r.cost_usd, r.top_usd)]
    assert periods[0].requests == len(first)


# Its interval --------------------------------------------------------------------------------------------


def test_the_interval_is_that_of_a_bootstrap_by_thread(made, data):
    threads = defaultdict(lambda: np.zeros(3))
    for saved, top, thread, _ in known(made, data):
        threads[thread] += (saved, top, 1)
    rows, dice = np.array(list(threads.values())), np.random.default_rng(1)
    drawn = rows[dice.integers(len(rows), size=(4_000, len(rows)))].sum(axis=1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    groups = groups_of(known(made, data))
    found = groups.share()
    assert found.value == pytest.approx(rows[:, 0].sum() / rows[:, 1].sum())
    assert (found.high - found.low) == pytest.approx(high - low, rel=0.2)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.2 * (high - low))


def groups_of(rows):
    groups = Groups()
    for saved, top, thread, _ in rows:
        groups.add(int(thread.removeprefix("thread-")) % GROUPS, top - saved, top)
    return groups


def threads(dice, count, skew):
    """Yield threads of skewed savings: the requests of each are alike, and some have many."""
    for number in range(count):
        usual = math.exp(dice.gauss(0, skew)) - 0.5
        for _ in range(1 + int(dice.expovariate(0.25))):
            yield number, usual + dice.gauss(0, 0.2)


@pytest.mark.parametrize(
    ("count", "skew", "least"),
    [(LEAST_GROUPS, 0.5, 0.88), (LEAST_GROUPS, 0.8, 0.85), (100, 0.8, 0.9), (400, 0.8, 0.92)],
)
def test_the_interval_holds_what_it_promises_where_threads_are_the_units(count, skew, least):
    dice, times, held, naive = random.Random(1), 250, 0, 0  # noqa: S311 - no secret
    true_mean = math.exp(skew**2 / 2) - 0.5  # how long a thread is says nothing of what it saves
    for _ in range(times):
        groups, alone = Groups(), []
        for number, saved in threads(dice, count, skew):
            groups.add(number % GROUPS, 10.0 - saved, 10.0)
            alone.append(saved)
        found = groups.per_request_usd()
        held += found.low <= true_mean <= found.high
        naive += abs(np.mean(alone) - true_mean) <= 1.96 * np.std(alone) / math.sqrt(len(alone))
    print(f"{count} threads, skew {skew}: held {held / times:.1%}; by request {naive / times:.1%}")  # noqa: T201
    assert least <= held / times <= 0.98
    assert naive / times < 0.75


def test_students_quantile_is_scipys():
    for freedom in (9, 19, 60, 255):
        assert student_95(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=0.001)


def test_groups_are_even_and_a_thread_is_always_in_its_own(made):
    record = made[0][0]
    found = [group_of(dataclasses.replace(record, thread=f"t{number}")) for number in range(GROUPS * 40)]
    counts = np.bincount(found, minlength=GROUPS)
    assert stats.chisquare(counts).pvalue > 0.001
    assert group_of(dataclasses.replace(record, id="other")) == group_of(record)
    alone = dataclasses.replace(record, thread=None, run=None)
    assert len({group_of(dataclasses.replace(alone, id=str(n))) for n in range(100)}) > 50


# What is said --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one(made):
    """An accepted reply of the small tier, of known cost."""
    return next(
        r for r, _ in made if r.tier == "small" and r.outcome == "accepted" and r.cost_usd and r.top_usd
    )


@pytest.fixture
def told(one):
    """What is said of decisions, one an hour, that save what they are told to: share of the baseline."""

    def tell(shares, threads=None, every_s=3_600):
        figures = Figures()
        for number, share in enumerate(shares):
            paid = dataclasses.replace(one.attempts[0], cost_usd=one.top_usd * (1 - share), checks_usd=0.0)
            record = dataclasses.replace(
                one,
                id=f"d{number}",
                thread=f"t{number if threads is None else number % threads}",
                decided_at_s=START_S + number * every_s,
                spend_usd=0.0,
                attempts=(paid,),
            )
            figures.add(record)
        return figures.data()

    return tell


def about(seed, mean, count, spread=0.05):
    dice = random.Random(seed)  # noqa: S311 - no secret
    return [mean + dice.uniform(-spread, spread) for _ in range(count)]


def test_yes_is_said_with_the_number_its_interval_and_that_it_fell(told):
    data = told(about(1, 0.6, 300) + about(2, 0.4, 100))
    assert data.payoff.verdict == "yes"
    assert data.lately.startswith("Still paying off? Yes: in the last quarter of the period routing saved $")
    assert " a day (95 % interval: $" in data.lately
    assert f"{percent(data.payoff.recent_share.value)} of what tier large would have cost" in data.lately
    then = percent(data.payoff.before_share.value)
    assert data.lately.endswith(f"Before it saved {then}: it saves less now, and that is hardly chance.")


def test_no_is_said_of_a_loss(told):
    data = told(about(1, 0.6, 300) + about(2, -0.5, 100))
    assert data.payoff.verdict == "no"
    assert data.lately.startswith("Still paying off? No: in the last quarter of the period routing lost $")
    assert data.payoff.recent_usd.high < 0


def test_no_is_said_where_next_to_nothing_is_saved(told):
    assert told([0.5] * 300 + [0.001] * 100).payoff.verdict == "no"
    assert told([0.5] * 300 + [0.0] * 100).payoff.verdict == "no"


def test_what_may_be_chance_is_not_said_to_pay(told):
    data = told(about(1, 0.5, 300) + about(2, 0.0, 100, spread=0.8))
    assert data.payoff.verdict == "cannot say yet"
    assert "but anything from a loss of $" in data.lately
    assert "In the whole period routing saved $" in data.lately


def test_a_difference_that_may_be_chance_is_called_so(told):
    data = told(about(4, 0.5, 400, spread=0.3))
    assert data.lately.endswith("the difference may be chance.")


def test_many_requests_of_few_threads_say_nothing_yet(told):
    data = told(about(5, 0.5, 2_000), threads=20)
    assert (data.payoff.verdict, data.payoff.recent_usd.low) == ("cannot say yet", None)
    assert 18 <= data.payoff.groups <= 20  # two may share a group
    assert f"too few threads for an interval ({data.payoff.groups} of {LEAST_GROUPS}). In the" in data.lately
    assert told(about(5, 0.5, 2_000), threads=2 * LEAST_GROUPS).payoff.verdict == "yes"


def test_a_young_ledger_counts_by_requests_and_not_by_days_it_has_not_seen(told):
    data = told([0.5] * 200, every_s=60)
    assert data.payoff.per == "1,000 requests"
    assert "per 1,000 requests (95 % interval" in data.lately
    assert data.payoff.recent_usd.value == pytest.approx(1_000 * data.top.cost_usd / 200)


def test_what_cannot_be_compared_is_said(one):
    figures = Figures()
    figures.add(dataclasses.replace(one, top_usd=None))
    data = figures.data()
    assert (data.payoff.recent_usd, data.payoff.recent_share, data.payoff.periods) == (None, None, ())
    assert data.lately.endswith("no decision can be compared.")


def test_an_estimate_of_many_is_as_many_times_the_one():
    assert Estimate(1.0, 0.5, 1.5).times(4) == Estimate(4.0, 2.0, 6.0)
    assert Estimate(1.0, None, None).times(4) == Estimate(4.0, None, None)
