"""CSV files: no cell is a formula in a spreadsheet, and every cell comes back as it was."""

import csv
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from langroute.errors import LangrouteError
from langroute.report.spreadsheet import read_csv, write_csv, written

PAYLOADS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1,2)",
    "\t=1",
    "\r=1",
    "\n=1",
    "  =1",
    "\u00a0=1",
    "\uff1d1+1",
    "'=1",
    "''@x",
    'a\n=HYPERLINK("http://evil")',
    "a;=1+1",
    "a;  -1",
    '","=1',
    '"\n=1',
    "- a list\n- of two",
    "plain, with \"quotes\", 'others' and ümläuts",
]


def evaluated(content):
    """Return the cells that a spreadsheet would take for formulas, whatever it parts cells by."""
    parts = re.split(r"[\r\n\t;]", content)
    return [part for part in parts if re.match(r'[ \u00a0"]*[=+\-@\uff1d\uff0b\uff0d\uff20]', part)]


@pytest.mark.parametrize("cell", PAYLOADS)
def test_no_cell_is_a_formula_and_every_cell_comes_back(cell, tmp_path):
    path = tmp_path / "a.csv"
    assert write_csv(path, ["id", "text"], [{"id": "1", "text": cell}, {"id": cell, "text": "x"}]) == 2
    with path.open(encoding="utf-8-sig", newline="") as file:
        cells = [one for row in csv.reader(file) for one in row]
    assert [found for one in cells for found in evaluated(one)] == []
    back = [row for _, row in read_csv(path, ["id"])]
    assert back == [{"id": "1", "text": cell}, {"id": cell, "text": "x"}]


@given(st.text("=+-@' \t\n\r;,\"a\uff1d", max_size=12))
@example("'\n'=")
def test_any_text_comes_back(tmp_path_factory, cell):
    path = tmp_path_factory.mktemp("cells") / "a.csv"
    write_csv(path, ["id", "text"], [{"id": "1", "text": cell}])
    assert evaluated(written(cell)) == []
    assert [row["text"] for _, row in read_csv(path, ["id"])] == [cell]


def test_numbers_stay_numbers_and_nothing_is_empty():
    assert [written(cell) for cell in (-0.5, 3, None, "")] == ["-0.5", "3", "", ""]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_file_is_read_as_a_spreadsheet_of_any_country_saved_it(separator, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"\ufeffid{separator}score\r\na{separator}1\r\n{separator}\r\nb{separator}0\r\n", "utf-8")
    assert list(read_csv(path, ["id", "score"])) == [
        (2, {"id": "a", "score": "1"}),
        (4, {"id": "b", "score": "0"}),
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"id,text\n1,x\n", "has no column score: its first row must name them"),
        (b"", "has no column id and no column score"),
        ("id,score\nä,1\n".encode("cp1252"), "is no UTF-8 text: save it as 'CSV UTF-8'"),
        (b'id,score\n"a"b,1\n', "is no CSV file"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(content, told, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(LangrouteError, match=told):
        list(read_csv(path, ["id", "score"]))


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(LangrouteError, match=r"cannot be read: No such file"):
        list(read_csv(tmp_path / "a.csv", ["id"]))
    with pytest.raises(LangrouteError, match="cannot be written"):
        write_csv(tmp_path / "no" / "a.csv", ["id"], [])
