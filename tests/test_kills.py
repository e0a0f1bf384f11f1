"""Killed at any moment, a conversation ends as an undisturbed one, and no stored reply is paid for again.

The full campaigns: `pytest -m campaign -s tests/test_kills.py`, some 20 minutes, figures printed.
"""

from pathlib import Path

import pytest
from kills import Durability, Killing, saver_url

SEED = 20261122


def test_no_stored_reply_is_paid_for_again(database_url: str, tmp_path: Path) -> None:
    figures = Killing(saver_url(database_url, tmp_path), database_url, "sync", SEED).kill(6)
    assert (figures.kills.total(), figures.repeats_of_stored) == (6, 0)


@pytest.mark.campaign
def test_campaign_with_the_store(database_url: str, tmp_path: Path) -> None:
    figures = Killing(saver_url(database_url, tmp_path), database_url, "sync", SEED + 1).kill(200)
    tell("the answer store", database_url, "sync", figures)
    assert (figures.kills.total(), figures.repeats_of_stored) == (200, 0)
    assert figures.stored > 100


@pytest.mark.campaign
@pytest.mark.parametrize("durability", ["sync", "async"])
def test_campaign_without_the_store(database_url: str, tmp_path: Path, durability: Durability) -> None:
    figures = Killing(saver_url(database_url, tmp_path), None, durability, SEED + 2).kill(100)
    tell("no store", database_url, durability, figures)
    assert figures.kills.total() == 100
    assert figures.repeats_of_others > 0


@pytest.mark.campaign
@pytest.mark.parametrize("reply_s", [0.0, 0.1])
def test_campaign_with_the_store_and_checkpoints_in_flight(
    database_url: str, tmp_path: Path, reply_s: float
) -> None:
    """The store cannot tell a call whose own checkpoint was lost; a call that takes its time has one."""
    killing = Killing(saver_url(database_url, tmp_path), database_url, "async", SEED + 3, reply_s)
    figures = killing.kill(100)
    tell(f"the answer store, replies take {reply_s} s", database_url, "async", figures)
    assert figures.kills.total() == 100


def tell(what: str, database_url: str, durability: Durability, figures: object) -> None:
    kind = database_url.partition(":")[0]
    print(f"\n{kind}, {what}, durability {durability}, {figures}")  # noqa: T201 - the campaign's result
