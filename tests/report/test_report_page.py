"""The page as text: what its policy allows, what it holds, and that no payload leaves its block of data."""

import base64
import dataclasses
import gzip
import hashlib
import json
import re
import sys
from html.parser import HTMLParser

import pytest
from hostile_texts import PAYLOADS, poisoned

from langroute.errors import LangrouteError
from langroute.report.figures import Figures
from langroute.report.listing import FLAGS, Listing
from langroute.report.making import write_page
from langroute.report.page import chart_library, page


class Parts(HTMLParser):
    """The tags of a page, and the text of its scripts."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags, self.scripts, self.attributes, self._inside = [], [], [], None

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attrs]
        if tag == "script":
            self.scripts.append([dict(attrs), ""])
            self._inside = tag

    def handle_endtag(self, tag):
        if tag == "script":
            self._inside = None

    def handle_data(self, data):
        if self._inside:
            self.scripts[-1][1] += data


def parsed(made, **settings):
    figures, listing = Figures("made.db"), Listing(**settings)
    for record, label in made:
        figures.add(record, label)
        listing.add(record, label)
    text = "".join(page(figures.data(), *listing.data()))
    parts = Parts()
    parts.feed(text)
    return text, parts


@pytest.fixture(scope="module")
def whole(made):
    return parsed(made[:1_200])


def test_only_the_scripts_of_the_page_may_run(whole):
    _, parts = whole
    policy = next(
        value for tag, name, value in parts.attributes if name == "content" and "default-src" in value
    )
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    run = [code for attrs, code in parts.scripts if "type" not in attrs]
    digests = [base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in run]
    allowed = re.search(r"script-src ([^;]*)", policy)[1].split()
    assert sorted(allowed) == sorted(f"'sha256-{digest}'" for digest in digests)
    assert len(run) == 5


def test_the_page_asks_for_nothing_from_elsewhere(whole):
    _, parts = whole
    assert not [a for a in parts.attributes if a[1] in ("src", "srcset", "action", "data", "poster")]
    assert {value for tag, name, value in parts.attributes if name == "href"} <= {
        f"#{part}"
        for part in (
            *("main", "spend", "steps", "flow", "rates", "policies", "explorer", "drift", "decisions"),
        )
    }
    assert not {"iframe", "object", "embed", "link", "base", "img"} & set(parts.tags)
    assert not [a for a in parts.attributes if a[1].startswith("on")]


def test_the_page_holds_the_figures_and_what_a_click_shows(whole, made):
    _, parts = whole
    blocks = {attrs["id"]: code for attrs, code in parts.scripts if "id" in attrs}
    figures, listing = json.loads(blocks["figures"]), json.loads(blocks["listing"])
    assert figures["totals"]["decisions"] == listing["total"] == len(listing["columns"]["id"]) == 1_200
    details = [json.loads(gzip.decompress(base64.b64decode(blocks[f"details-{i}"]))) for i in range(3)]
    assert [len(chunk) for chunk in details] == [500, 500, 200]
    record = made[777][0]
    row, shown = 777, details[1][277]
    assert listing["columns"]["id"][row] == record.id
    assert shown["run"] == record.run
    assert [a["endpoint"] for a in shown["attempts"]] == [a.endpoint for a in record.attempts]
    assert shown["reasons"] == record.plan["reasons"]
    assert "prompt" not in shown


def test_no_payload_leaves_its_block_of_data(whole):
    _, clean_parts = whole
    text, parts = parsed(poisoned(), expected=len(PAYLOADS))
    assert [tag for tag in parts.tags if tag != "script"] == [t for t in clean_parts.tags if t != "script"]
    run = [code for attrs, code in parts.scripts if "type" not in attrs]
    assert run == [code for attrs, code in clean_parts.scripts if "type" not in attrs]
    for attrs, code in parts.scripts:
        if attrs.get("type") == "application/json":
            assert json.loads(code)
            assert not re.search(r"[<>&\u2028\u2029]", code)
    markup = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert "alert(" not in markup


def test_the_latest_decisions_are_listed(made):
    for most in (1, 499, 500, 700, 1_000):
        listing = Listing(most, expected=1_000)
        for record, label in made[:1_000]:
            listing.add(record, label)
        head, packed = listing.data()
        assert head["columns"]["id"] == tuple(record.id for record, _ in made[1_000 - most : 1_000])
        assert head["total"] == 1_000
        assert len(packed) == -(-most // 500)


def test_more_decisions_than_expected_do_not_grow_the_page(made):
    listing = Listing(500, expected=500)
    for record, label in made:
        listing.add(record, label)
    head, packed = listing.data()
    assert len(head["columns"]["id"]) == 500
    assert len(packed) == 1


def test_flags_say_what_happened(made):
    listing = Listing(4_000)
    for record, label in made:
        listing.add(record, label)
    flags = listing.data()[0]["columns"]["flags"]
    wanted = {
        "escalated": lambda r, _: any(a.why == "escalation" for a in r.attempts),
        "fell back": lambda r, _: any(a.why == "fallback" for a in r.attempts),
        "repaired": lambda r, _: any(a.why == "repair" for a in r.attempts),
        "failed call": lambda r, _: any(a.outcome == "failed" for a in r.attempts),
        "mismatch": lambda r, _: r.mismatch is not None,
        "wrong": lambda _, label: label is not None and label < 0.5,
        "unknown cost": lambda r, _: r.cost_usd is None,
    }
    for bit, name in enumerate(FLAGS):
        assert [bool(f & 1 << bit) for f in flags] == [bool(wanted[name](*row)) for row in made], name


def test_without_plotly_nothing_is_written_and_the_install_line_is_said(data, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(LangrouteError, match=r"pip install 'langroute\[report\]'"):
        chart_library()
    with pytest.raises(LangrouteError):
        write_page(tmp_path / "report.html", data, Listing())
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_cannot_be_written_leaves_what_was_there(data, tmp_path):
    target = tmp_path / "report.html"
    target.write_text("before")
    broken = dataclasses.replace(data, headline=None)
    with pytest.raises(TypeError):
        write_page(target, broken, Listing())
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(LangrouteError, match="cannot be written"):
        write_page(tmp_path / "no" / "report.html", data, Listing())
