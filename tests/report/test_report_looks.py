"""What the page looks like with ledgers of odd shape: nothing lies over anything else, nothing is cut off."""

import dataclasses
import random

import pytest
from browsers import chromium, opened
from made_decisions import START_S, decisions

from langroute.report.figures import Figures
from langroute.report.listing import Listing
from langroute.report.making import write_page
from langroute.report.wording import percent, seconds, usd

NAMES = {
    "query_rewrite": "the_extraction_of_every_contractual_obligation_from_scanned_agreements",
    "extraction": "استخراج البيانات من العقود",
    "tool_use": "\U0001f6e0 \U0001f469\u200d\U0001f469\u200d\U0001f467 tool",
    "planning": "計画立案",
    "synthesis": "synthesis <b>&amp;",
}


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


def changed(record, change, **more):
    """Return a decision whose attempts are others."""
    attempts = (dataclasses.replace(attempt, **change(attempt)) for attempt in record.attempts)
    return dataclasses.replace(record, attempts=tuple(attempts), **more)


def best(record, number):
    last = record.attempts[-1].number
    made = changed(
        record, lambda a: {"outcome": "rejected", "returned": int(a.number == last)}, outcome="best"
    )
    return made if number % 3 else record


def failed(record, _):
    nothing = {"tier": None, "endpoint": None, "model": None, "top_usd": 0.0, "spend_usd": 2e-9}
    lost = {"outcome": "failed", "returned": 0, "cost_usd": 0.0, "checks_usd": 0.0}
    free = dict.fromkeys(record.baselines, 0.0)
    return changed(record, lambda _: lost, outcome="failed", baselines=free, **nothing)


def many_tiers(record, number):
    return changed(record, lambda a: {"tier": a.tier if a.tier == "large" else f"{a.tier}-{number % 9}"})


def named(record, _):
    return dataclasses.replace(record, step=NAMES[record.step])


def many_steps(record, _):
    return dataclasses.replace(record, step=f"{record.step}_{random.Random(record.id).randrange(40)}")  # noqa: S311


SHAPES = {
    "many end as best of rejected": (300, best),
    "everything failed": (100, failed),
    "nineteen tiers": (400, many_tiers),
    "odd names": (200, named),
    "two hundred steps": (800, many_steps),
    "one step": (100, lambda record, _: dataclasses.replace(record, step="answer")),
    "one decision": (1, lambda record, _: record),
    "one second": (
        40,
        lambda record, number: dataclasses.replace(record, decided_at_s=START_S + number / 40),
    ),
}

OVERLAPS = """() => {
    const place = document.querySelector("[data-chart=flow]"), chart = place.getBoundingClientRect();
    const labels = [...place.querySelectorAll(".node-label")].filter((label) => label.textContent);
    const boxes = labels.map((label) => [label.textContent, label.getBoundingClientRect()]);
    const over = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2
        && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2;
    const outside = boxes.filter(([, b]) => b.left < chart.left - 1 || b.right > chart.right + 1
        || b.top < chart.top - 1 || b.bottom > chart.bottom + 1).map(([text]) => text);
    const lie = ([one, a], rest) => rest.filter(([, b]) => over(a, b)).map(([other]) => [one, other]);
    const seen = JSON.stringify(boxes), now = performance.now();
    if (window.seen !== seen) Object.assign(window, {seen, since: now});
    const settled = now - window.since > 600;
    const pairs = boxes.flatMap((box, i) => lie(box, boxes.slice(i + 1)));
    return {settled, count: labels.length, outside, pairs};
}"""

CUT = """() => [...document.querySelectorAll("dd.value, .ytick text, .xtick text")].flatMap((e) => {
    if (e instanceof HTMLElement) return e.scrollWidth > e.clientWidth ? [e.textContent] : [];
    const place = e.closest("[data-chart]"), chart = place.getBoundingClientRect(), box = e.getBoundingClientRect();
    const cut = box.width && (box.left < chart.left - 1 || box.bottom > chart.bottom + 1);
    return cut ? [`${place.dataset.chart}: ${e.textContent}`] : [];
})"""  # noqa: E501


def written(path, count, change):
    figures, listing = Figures("made.db"), Listing()
    for number, (record, label) in enumerate(decisions(count)):
        figures.add(record := change(record, number), label)
        listing.add(record, label)
    write_page(path, figures.data(), listing)
    return path


@pytest.mark.parametrize("shape", SHAPES)
def test_no_label_of_the_flow_lies_over_another_and_nothing_is_cut_off(browser, shape, tmp_path):
    with opened(browser, written(tmp_path / "report.html", *SHAPES[shape])) as page:
        page.page.add_style_tag(content="section { content-visibility: visible !important; }")
        for width in (1280, 390):
            page.page.set_viewport_size({"width": width, "height": 900})
            page.page.evaluate("langroute.drawAll()")
            page.page.evaluate("window.seen = ''")
            page.until(f"({OVERLAPS})().settled")  # what moves after a change of size has arrived
            found = page.page.evaluate(OVERLAPS)
            assert (found["outside"], found["pairs"]) == ([], [])
            assert found["count"] >= 3
            assert page.page.evaluate(CUT) == []
            assert page.page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.quiet()


def test_key_figure_of_a_ledger_too_young_for_days_is_told_per_requests(browser, tmp_path):
    with opened(browser, written(tmp_path / "report.html", *SHAPES["one second"])) as page:
        names = page.page.evaluate("[...document.querySelectorAll('dt')].map((name) => name.textContent)")
    assert "Saved per 1,000 requests" in names


def test_joiners_stay_in_pictures_and_scripts_that_need_them_and_show_elsewhere(browser, tmp_path):
    path = written(tmp_path / "report.html", 20, named)
    with opened(browser, path) as page:
        family, persian = (
            "\U0001f469\u200d\U0001f469\u200d\U0001f467",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        )
        for text in (family, persian):
            assert page.page.evaluate("langroute.clean", text) == text
        for text in ("a\u200db", "\u200da", "\u0645\u200c\u200c\u062e", "a\u200bb", "\u202ea"):
            assert "\ufffd" in page.page.evaluate("langroute.clean", text)


def test_numbers_are_written_alike_on_the_page_and_in_the_terminal(browser, tmp_path):
    dice = random.Random(7)  # noqa: S311 - no secret
    ties = [
        0.00997259,
        0.0001235,
        0.125,
        1.005,
        2.675,
        0.0465,
        0.9985,
        0.5,
        1.25,
        100.5,
        101.5,
        0.0005,
        0.2505,
    ]
    values = [*ties, 0.0, *(dice.random() * 10 ** dice.randint(-9, 4) for _ in range(400))]
    with opened(browser, written(tmp_path / "report.html", 20, named)) as page:
        for ours, theirs in ((usd, "usd"), (percent, "percent"), (seconds, "seconds")):
            told = page.page.evaluate(f"(values) => values.map(langroute.{theirs})", values)
            assert dict(zip(values, told, strict=True)) == {value: ours(value) for value in values}
        lost = page.page.evaluate("(values) => values.map((value) => langroute.usd(-value))", values)
        assert lost == [usd(-value) for value in values]
