"""Where one model goes on with what another broke off: nothing repeated, nothing lost, nothing glued."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langroute.seams import Seam, anchor

TEXT = (
    "The log of the Great Eastern says that the cable was laid in 1866, two years after the first try. "
    "Its engineer, Mr Canning, had the grapnels lowered thirty times before the lost end came up again."
)

any_text = st.text(st.characters(codec="utf-8"), min_size=2, max_size=600).filter(lambda text: text.strip())
words = st.lists(st.integers(0, 10_000).map("w{:x}".format), min_size=4, max_size=120, unique=True)
cuts = st.floats(0, 1)
sizes = st.lists(st.integers(1, 60), min_size=1, max_size=8)


def cut_at(text: str, share: float) -> int:
    return 1 + int(share * (len(text) - 2))


def continued(shown: str, reply: str, sizes: list[int]) -> str | None:
    """Return the joined text of a reply that comes in pieces of these sizes, None where it is refused."""
    seam, at, turn, said = Seam(shown), 0, 0, ""
    while at < len(reply):
        size = sizes[turn % len(sizes)]
        said += seam.push(reply[at : at + size])
        at, turn = at + size, turn + 1
    said += seam.end()
    assert not (seam.refused and said), "what is refused has shown nothing"
    return None if seam.refused else shown + said


@given(any_text, cuts, st.integers(0, 600), sizes)
def test_reply_that_begins_with_the_anchor_or_earlier_makes_the_original(text, share, more, sizes):
    shown = text[: cut_at(text, share)]
    if (last := anchor(shown)) is None:
        return
    start = max(len(shown.rstrip()) - len(last) - more, len(shown) - len(shown.lstrip()))
    assert continued(shown, text[start:], sizes) == text


@given(any_text, cuts, sizes)
def test_reply_that_starts_over_makes_the_original(text, share, sizes):
    shown = text[: cut_at(text, share)]
    if anchor(shown) is not None:
        assert continued(shown, text, sizes) == text


@given(words, cuts, st.integers(0, 200), sizes)
def test_any_overlap_makes_the_original_or_nothing(parts, share, overlap, sizes):
    text = " ".join(parts)
    cut = cut_at(text, share)
    assert continued(text[:cut], text[max(cut - overlap, 0) :], sizes) in (text, None)


@given(words, st.integers(1, 100), sizes)
def test_exact_continuation_at_a_word_makes_the_original(parts, at, sizes):
    at = min(at, len(parts) - 1)
    parts = [f"{part:_<6}" for part in parts]  # none begins as another ends
    shown, rest = " ".join(parts[:at]), " ".join(parts[at:])
    assert continued(shown, f" {rest}", sizes) == f"{shown} {rest}"
    assert continued(f"{shown} ", rest, sizes) == f"{shown} {rest}"


@given(any_text, any_text, sizes)
def test_what_is_decided_does_not_depend_on_the_pieces(shown, reply, sizes):
    if anchor(shown) is not None:
        assert continued(shown, reply, sizes) == continued(shown, reply, [len(reply)])


@given(any_text)
def test_anchor_stands_at_the_end_and_nowhere_else(text):
    last = anchor(text)
    if last is not None:
        assert text.strip().endswith(last)
        assert text.strip().count(last) == 1


UNRELATED = {
    "apology": "I'm sorry, I can't continue this text.",
    "apology in small letters": "sorry, but i cannot help with that.",
    "preamble": "Sure, here is the rest of the reply:",
    "another answer": "The cable was first laid in 1858 and failed within weeks.",
    "another language": "und das Kabel wurde im Jahre 1866 von der Great Eastern verlegt, wie man weiß.",
    "same head, other facts": TEXT.replace("1866", "1867"),
    "an earlier part again": TEXT[20:60],
    "nothing": "",
    "white space": " \n ",
    "glued word": "again",
}


@pytest.mark.parametrize("reply", UNRELATED.values(), ids=UNRELATED)
@pytest.mark.parametrize("cut", [90, 91, 120, len(TEXT) - 7])
def test_unrelated_reply_is_refused(reply: str, cut: int) -> None:
    assert continued(TEXT[:cut], reply, [7]) is None


@pytest.mark.parametrize("shown", ["", "  \n ", "| a | b |\n" * 60, "ha" * 400])
def test_text_whose_last_words_tell_no_place_has_no_anchor(shown: str) -> None:
    assert anchor(shown) is None


@pytest.mark.parametrize(
    ("shown", "reply", "whole"),
    [
        ("The cable was", "The cable was laid.", "The cable was laid."),
        ("The cab", "The cable was laid.", "The cable was laid."),
        ("The cable was ", "\n The cable was laid.", "The cable was laid."),
        ("Two points:\n\n", "Two points:\nfirst", "Two points:\n\nfirst"),
        ("The cable was laid", "The cable was laid", "The cable was laid"),
        (TEXT[:100], TEXT[85:], TEXT),
        (TEXT[:98], TEXT[90:], None),
        ("Dear Sir", ", thank you.", "Dear Sir, thank you."),
        ("It was in ", "1866 that", "It was in 1866 that"),
        ("It was very ", "very long", None),
        ("It was very", "wasn't it", None),
    ],
)
def test_seams_one_by_one(shown: str, reply: str, whole: str | None) -> None:
    assert continued(shown, reply, [5]) == whole
