"""Scores as files: what is read is what was saved, or an error that says what to do."""

import base64
import hashlib
import json
from itertools import pairwise

import numpy as np
import pytest
from worlds import TIERS, prompt_score, reply_score, world

from langroute.tuning.files import ScoreFileError, load_score, save_score
from langroute.tuning.outcomes import outcome_of
from langroute.tuning.scores import cold_score, expected_gain, fit_prompt_score


@pytest.mark.parametrize("fitted", [prompt_score, reply_score])
def test_a_score_that_is_read_says_one_at_a_time_what_the_fitted_one_said_of_many(fitted, tmp_path):
    rows = [o.prompt if fitted is prompt_score else o.after() for o in world(400) if o.tier == "small"][:60]
    digest = save_score(fitted().score, tmp_path / "score.json")
    read, said = load_score(tmp_path / "score.json"), fitted().said_of(rows)
    assert read.digest == digest
    assert [read.probability(row, "small") for row in rows] == pytest.approx(said["small"].tolist(), abs=1e-6)
    gain = expected_gain(read, said, "small")
    assert [read.gain(row, "small") for row in rows] == pytest.approx(gain.tolist(), abs=1e-6)


def test_contributions_add_up_to_the_difference_between_two_replies():
    score, head = reply_score().score, reply_score().score.heads["small"]
    rows = [o.after() for o in world(400) if o.tier == "small"][:20]
    for one, other in pairwise(rows):
        points = [sum(part.points for part in score.contributions(row, "small")) for row in (one, other)]
        curve = head.calibration
        odds = [np.log(p / (1 - p)) for p in (score.probability(row, "small") for row in (one, other))]
        assert curve.slope * (points[0] - points[1]) == pytest.approx(odds[0] - odds[1], abs=1e-6)


def test_words_that_move_a_score_are_named():
    score = prompt_score().score
    text = "prove the theorem in the city"
    outcome = outcome_of({"query": 1, "tier": "small", "score": 1, "prompt": text})
    points = {part.feature: part.points for part in score.words(outcome.prompt, "small", text)}
    assert points["theorem"] < 0 < points["city"]


def test_a_score_without_labels_can_be_saved(tmp_path):
    save_score(cold_score(TIERS), tmp_path / "cold.json")
    assert load_score(tmp_path / "cold.json").tiers == TIERS


class Embeddings:
    """Two numbers that tell hard prompts from easy ones."""

    def embed_documents(self, texts):
        return [[3.0, 4.0 * ("theorem" in text)] for text in texts]


def test_embeddings_take_the_place_of_hashed_text(tmp_path):
    rows = [
        {"query": i, "tier": "small", "score": i % 2, "prompt": "theorem" if i % 2 else "city"}
        for i in range(60)
    ]
    outcomes = [outcome_of(row, embeddings=Embeddings()) for row in rows]
    fitted = fit_prompt_score(outcomes, ["small"])
    save_score(fitted.score, tmp_path / "score.json")
    read = load_score(tmp_path / "score.json")
    assert read.embeds
    assert read.idf is None
    assert outcomes[1].prompt.vector == pytest.approx((0.6, 0.8))
    assert read.probability(outcomes[1].prompt, "small") > read.probability(outcomes[0].prompt, "small")
    with pytest.raises(ValueError, match="embeddings of 2 numbers, and the prompt's has 0"):
        read.probability(world(3)[0].prompt, "small")


def written(tmp_path, change):
    """Return the path of a file whose content was changed and whose digest is right again."""
    path = tmp_path / "score.json"
    save_score(reply_score().score, path)
    content = json.loads(path.read_text())
    content.pop("digest")
    change(content)
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    content["digest"] = hashlib.sha256(canonical.encode()).hexdigest()
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(version=1), "has version 1 where 2 can be read: fit it again"),
        (lambda c: c.update(format="other"), "holds no learned score"),
        (lambda c: c.update(kind="other"), "cannot be understood"),
        (lambda c: c["mean"].pop(), "cannot be understood"),
        (lambda c: c["scale"].__setitem__(0, 0), "cannot be understood"),
        (lambda c: c["heads"]["small"].update(text="no base64!"), "cannot be understood"),
        (
            lambda c: c["heads"]["small"].update(text=base64.b64encode(b"1234").decode()),
            "cannot be understood",
        ),
        (lambda c: c["heads"]["small"]["trees"][0]["left"].__setitem__(0, 0), "cannot be understood"),
        (lambda c: c["heads"]["small"]["trees"][0]["feature"].__setitem__(0, 10_000), "cannot be understood"),
        (lambda c: c.pop("heads"), "cannot be understood"),
    ],
)
def test_a_file_that_is_no_sound_score_is_refused(change, message, tmp_path):
    with pytest.raises(ScoreFileError, match=message):
        load_score(written(tmp_path, change))


def test_a_file_that_was_changed_after_it_was_saved_is_refused(tmp_path):
    path = tmp_path / "score.json"
    save_score(prompt_score().score, path)
    path.write_text(path.read_text().replace('"step": "work"', '"step": "play"'))
    with pytest.raises(ScoreFileError, match="was changed after it was saved"):
        load_score(path)


@pytest.mark.parametrize("content", ["", "[1]", "not json", "[" * 100_000, '{"format": 1}'])
def test_a_file_of_something_else_is_refused(content, tmp_path):
    path = tmp_path / "score.json"
    path.write_text(content)
    with pytest.raises(ScoreFileError, match="name a file that `save_score` wrote"):
        load_score(path)
    with pytest.raises(ScoreFileError, match="cannot be read"):
        load_score(tmp_path / "none.json")
