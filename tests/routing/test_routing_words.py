"""Keywords are whole words in scripts with spaces, and substrings elsewhere."""

import pytest

from langroute.routing.words import Keywords


@pytest.mark.parametrize(
    ("word", "text", "stands"),
    [
        ("refund", "a refund, please", True),
        ("refund", "refunded", False),
        ("refund", "unrefunded, but then a refund", True),
        ("Straße", "die STRASSE", True),
        ("c++", "in c++ or c", True),
        ("c", "in c++", True),
        ("sum", "sum_total", False),
        ("違い", "その違いは", True),
        ("fin de mois", "la fin de mois", True),
    ],
)
def test_keyword_stands_alone(word, text, stands):
    assert (Keywords([word]).first(text.casefold()) == word) is stands


def test_different_keywords_are_counted_once_each():
    assert Keywords(["a", "b", "c"]).count("a a b") == 2
