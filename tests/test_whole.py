"""Files that are written wholly or not at all."""

import os
from pathlib import Path

import pytest

from langroute.errors import LangrouteError
from langroute.whole import replacing


def test_what_breaks_off_leaves_the_file_that_was_there_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    target.write_text("old")
    with (
        pytest.raises(UnicodeEncodeError),
        replacing(target) as part,
        part.open("w", encoding="ascii") as file,
    ):
        file.writelines(["new, ", "and \u00fc"])
    assert (target.read_text(), [*tmp_path.iterdir()]) == ("old", [target])


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_file_has_the_rights_that_the_process_gives_new_files(
    tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "labels.csv") as part:
            part.write_text("prompts")
    finally:
        os.umask(before)
    assert (tmp_path / "labels.csv").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("target", ["none/page.html", "taken"])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, target: str) -> None:
    (tmp_path / "taken").mkdir()
    with (
        pytest.raises(LangrouteError, match=f"{target} cannot be written: .* directory"),
        replacing(tmp_path / target) as part,
    ):
        part.write_text("text")
    assert [*tmp_path.iterdir()] == [tmp_path / "taken"]
