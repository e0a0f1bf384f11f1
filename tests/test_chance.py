"""Draws by a digest."""

from langroute.chance import place

MANY = [place((f"thread {number}",), "canary") for number in range(10_000)]


def test_a_place_is_the_same_in_every_process_and_version() -> None:
    assert place(("thread 7",), "canary") == place(("thread", " 7"), "canary") == 0.5450805676041435


def test_places_are_even() -> None:
    tenths = [sum(tenth / 10 <= at < (tenth + 1) / 10 for at in MANY) for tenth in range(10)]
    assert sum(tenths) == len(MANY)
    assert all(abs(count - 1_000) < 150 for count in tenths), tenths  # five standard deviations


def test_what_one_draw_chose_says_nothing_of_another() -> None:
    chosen = [number for number, at in enumerate(MANY) if at < 0.2]
    again = [number for number in chosen if place((f"thread {number}",), "shadow") < 0.2]
    assert abs(len(again) - 0.2 * len(chosen)) < 90


def test_a_text_that_is_no_text_has_a_place_too() -> None:
    assert 0 <= place(("\ud800",), "label") < 1
