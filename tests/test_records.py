"""Records that a maker made are those that their class makes: equal, frozen, copied and pickled alike."""

import copy
import pickle
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace

import pytest

from langroute.attempts import Attempt, made_attempt
from langroute.cost import Usage, made_usage
from langroute.records import maker

ATTEMPT = ("small", "openai:m", "start", "accepted")
USAGE = (5, 1, 2)


@dataclass(frozen=True, eq=False)
class Open:
    """A record without slots, as `Request` is one."""

    words: tuple[str, ...]
    notes: dict[str, str] = field(default_factory=dict)


made_open = maker(Open)

MADE = [
    (made_attempt(*ATTEMPT, cost_usd=0.5), Attempt(*ATTEMPT, cost_usd=0.5)),
    (made_usage(*USAGE, reasoning_tokens=1), Usage(*USAGE, reasoning_tokens=1)),
]


@pytest.mark.parametrize(("made", "written"), MADE)
def test_made_record_is_what_its_class_makes(made, written):
    assert type(made) is type(written)
    assert made == written
    assert hash(made) == hash(written)
    assert repr(made) == repr(written)
    assert asdict(made) == asdict(written)


@pytest.mark.parametrize(("made", "written"), MADE)
def test_made_record_is_copied_pickled_and_replaced_as_any_other(made, written):
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == copy.copy(made) == written  # noqa: S301 - our own
    name, value = fields(made)[0].name, object()
    again = replace(made, **{name: value})
    assert type(again) is type(written)
    assert getattr(again, name) is value


@pytest.mark.parametrize("made", [made_attempt(*ATTEMPT), made_usage(*USAGE), made_open(("a",))])
def test_made_record_is_frozen(made):
    name = fields(made)[0].name
    with pytest.raises(FrozenInstanceError):
        setattr(made, name, None)
    with pytest.raises(FrozenInstanceError):
        delattr(made, name)


def test_defaults_are_made_anew_for_each_record():
    first, second = made_open(("a",)), made_open(words=("b",))
    assert (first.notes, second.notes) == ({}, {})
    assert first.notes is not second.notes


@pytest.mark.parametrize("made", [made_attempt, made_open])
def test_maker_asks_for_what_its_class_asks_for(made):
    with pytest.raises(TypeError, match="missing"):
        made()
    with pytest.raises(TypeError, match="unexpected keyword"):
        made(*ATTEMPT[:1], nothing=1)
