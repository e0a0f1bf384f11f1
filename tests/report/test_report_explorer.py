"""The explorer of the page: its sliders show what the command line says of the same thresholds."""

import json

import pytest
from browsers import chromium, opened
from made_decisions import decisions
from made_ledger import write_ledger

from langroute.cli import main
from langroute.report.listing import Listing
from langroute.report.making import write_page
from langroute.report.wording import percent, seconds, usd


@pytest.fixture(scope="module")
def rated(tmp_path_factory):
    """The URL of a ledger in which every second decision has feedback."""
    return write_ledger(tmp_path_factory.mktemp("rated") / "rated.db", decisions(1_500, rated=0.5))


def command(capsys, *args):
    """Run `langroute report`; return what it prints."""
    with pytest.raises(SystemExit) as end:
        main(["report", *map(str, args)])
    shown = capsys.readouterr()
    assert end.value.code in (None, 0), shown.err
    return shown.out


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def written(rated, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    with pytest.raises(SystemExit):
        main(["report", "--ledger", rated, "--html", str(path)])
    return path


@pytest.fixture
def shown(browser, written):
    with opened(browser, written, color_scheme="light") as page:
        yield page


COLUMNS = """() => {
    const [head, ...lines] = document.getElementById("explore-table").rows;
    const texts = (row) => [...row.cells].slice(1).map((cell) => cell.textContent);
    const figures = Object.fromEntries(lines.map((row) => [row.cells[0].textContent, texts(row)]));
    return [texts(head), figures];
}"""
PLACE = """() => {
    const step = langroute.exploring().step, at = (name) => Number(document.getElementById(name).value);
    return [step.step, step.starts[at("explore-start")], step.score, step.accepts[at("explore-accept")]];
}"""


def outlooks(step):
    """Return what `--json` says of a step at the thresholds asked for: name to figures."""
    ways = {}
    for way in step["ways"]:
        grids = {name: grid for name, grid in way.items() if name != "name"}
        lines = {name: grid[min(step["start_at"], len(grid) - 1)] for name, grid in grids.items()}
        ways[way["name"]] = {n: line[min(step["accept_at"], len(line) - 1)] for n, line in lines.items()}
    return {"as it ran": step["ran"], **ways, f"{step['top']} everywhere": step["everywhere"]}


def quality(of):
    if of["quality"] is None:
        return "too little feedback"
    return f"{percent(of['quality'])} ({percent(of['quality_low'])} to {percent(of['quality_high'])})"


def agrees_with_the_command_line(page, rated, capsys):
    """Compare every figure in the table; return the place and the figures."""
    name, start, score, accept = place = page.page.evaluate(PLACE)
    asked = [f"{name}.difficulty={start}", *([f"{name}.{score}={accept}"] if score else [])]
    options = [option for each in asked for option in ("--threshold", each)]
    said = json.loads(command(capsys, "--ledger", rated, "--json", *options))["explorer"]["steps"]
    expected = outlooks(next(step for step in said if step["step"] == name))
    headings, figures = page.page.evaluate(COLUMNS)
    assert headings == list(expected)
    assert figures["cost a request"] == [usd(of["cost_usd"]) for of in expected.values()]
    assert figures["quality"] == [quality(of) for of in expected.values()]
    assert figures["latency"] == [seconds(of["latency_s"]) or "unknown" for of in expected.values()]
    for heading, key in (
        *(("escalated", "escalated"), ("starts at the top", "top_first")),
        *(("estimated", "estimated"), ("quality estimated", "estimated_quality")),
    ):
        assert figures[heading] == [percent(of[key]) for of in expected.values()]
    return place, figures


def test_moving_the_sliders_shows_what_the_command_line_says_of_that_threshold(shown, rated, capsys):
    places, costs = set(), set()
    for step, start, accept in (("synthesis", 3, 4), ("synthesis", 15, 18), ("extraction", 0, 0)):
        shown.page.select_option("#explore-step", label=step)
        shown.page.locator("#explore-start").fill(str(start))
        shown.page.locator("#explore-accept").fill(str(accept))
        place, figures = agrees_with_the_command_line(shown, rated, capsys)
        places.add(tuple(place))
        costs.add(tuple(figures["cost a request"]))
    assert len(places) == len(costs) == 3
    assert shown.quiet()


def test_the_keyboard_moves_them_too(shown, rated, capsys):
    _, before = shown.page.evaluate(COLUMNS)
    shown.page.locator("#explore-start").focus()
    for _ in range(3):
        shown.page.keyboard.press("ArrowRight")
    shown.page.keyboard.press("Tab")
    assert shown.page.evaluate("document.activeElement.id") == "explore-accept"
    shown.page.keyboard.press("Home")  # fewer start at the top, and fewer escalate: hybrid moves by both
    _, after = agrees_with_the_command_line(shown, rated, capsys)
    cost_before, cost_after = before["cost a request"], after["cost a request"]
    assert cost_before[0] == cost_after[0]
    assert all(cost_before[i] != cost_after[i] for i in (1, 2, 3))
    assert shown.quiet()


def test_a_step_without_a_score_has_one_slider_and_each_step_keeps_its_place(shown, rated, capsys):
    shown.page.locator("#explore-start").fill("2")
    shown.page.select_option("#explore-step", label="query_rewrite")
    assert not shown.page.locator("#explore-accept").is_visible()
    assert "No check of this step gives a score" in shown.page.inner_text("#explore-of")
    agrees_with_the_command_line(shown, rated, capsys)
    shown.page.select_option("#explore-step", label="synthesis")
    assert shown.page.locator("#explore-start").input_value() == "2"
    assert shown.page.locator("#explore-accept").is_visible()


def test_who_does_not_see_the_chart_is_told(shown):
    slider = shown.page.get_by_label("Start at large from a difficulty of")
    assert slider.get_attribute("type") == "range"
    assert "of requests start at large" in slider.get_attribute("aria-valuetext")
    shown.page.evaluate("langroute.drawAll()")
    chart = shown.page.locator("[data-chart=explorer]")
    told = [chart.get_attribute("aria-label"), shown.page.text_content("#explore-said")]
    slider.fill("19")
    again = [chart.get_attribute("aria-label"), shown.page.text_content("#explore-said")]
    assert all(text and text != new for text, new in zip(told, again, strict=True))
    assert all(way in text for text in again for way in ("routing: $", "cascade: $", "hybrid: $"))
    assert shown.page.locator("#explore-said").get_attribute("role") == "status"


def test_the_chart_has_three_lines_and_marks_where_the_sliders_stand(shown):
    shown.page.evaluate("langroute.drawAll()")
    traces = """document.querySelector("[data-chart=explorer]").data
        .map((trace) => [trace.mode, trace.name, trace.x.length, trace.x[0]])"""
    drawn = shown.page.evaluate(traces)
    assert [name for mode, name, *_ in drawn if mode == "lines"] == ["routing", "cascade", "hybrid"]
    assert all(points > 2 for mode, _, points, _ in drawn if mode == "lines")
    marks = {name: at for mode, name, points, at in drawn if mode == "markers"}
    assert set(marks) == {"as it ran", "routing", "cascade", "hybrid", "large everywhere"}
    shown.page.locator("#explore-start").fill("1")
    moved = {name: at for mode, name, _, at in shown.page.evaluate(traces) if mode == "markers"}
    assert [name for name in marks if marks[name] != moved[name]] == ["routing", "hybrid"]


def test_the_page_says_that_it_estimates_and_what_it_assumes(shown):
    assert "is an estimate" in shown.page.text_content("#explorer-assumption")
    assert "planning: it is bound to large alone" in shown.page.text_content("#explorer-left-out")


def test_a_page_without_figures_says_how_to_get_them(browser, data, tmp_path):
    write_page(tmp_path / "report.html", data, Listing())
    with opened(browser, tmp_path / "report.html") as page:
        assert "pip install 'langroute[report]'" in page.page.text_content("#explorer-note")
        assert not page.page.locator("#explorer-controls").is_visible()
        assert page.quiet()
