"""Learned scores as files: JSON with version and digest, arrays as base64 of 32-bit floats; never pickle."""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langroute.errors import LangrouteError
from langroute.whole import replacing

if TYPE_CHECKING:
    from langroute.tuning.learned import Head, LearnedScore

__all__ = ["ScoreFileError", "load_score", "save_score"]

_FORMAT = "langroute score"
_VERSION = 2
_MOST_BYTES = 64_000_000
_MISSING = "a learned score needs numpy: pip install 'langroute[learned]'"


class ScoreFileError(LangrouteError, ValueError):
    """A file of a learned score that cannot be used: which file, what is wrong, what to do."""


def save_score(score: "LearnedScore", path: str | Path) -> str:
    """Write a score, wholly or not at all; return its digest: SHA-256, as hex, of all that the file says.

    Raises:
        LangrouteError: The file cannot be written.
    """
    content = _content(score)
    digest = _digest(content)
    text = json.dumps({**content, "digest": digest}, indent=1, ensure_ascii=False)
    with replacing(Path(path)) as part:
        part.write_text(f"{text}\n", encoding="utf-8")
    return digest


def load_score(path: str | Path) -> "LearnedScore":
    """Return the score that a file holds.

    Raises:
        ScoreFileError: It cannot be read, is of another version, or is not what was saved.
        ImportError: numpy is not installed; the message is the install line.
    """
    file = Path(path)
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ScoreFileError(f"{file} is larger than {_MOST_BYTES:,} bytes: it is no learned score")
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ScoreFileError(
            f"{file} cannot be read ({reason}): name a file that `save_score` wrote"
        ) from None
    except (ValueError, RecursionError):
        raise ScoreFileError(f"{file} is not JSON: name a file that `save_score` wrote") from None
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ScoreFileError(f"{file} holds no learned score: name a file that `save_score` wrote")
    if content.get("version") != _VERSION:
        raise ScoreFileError(
            f"{file} has version {content.get('version')!r} where {_VERSION} can be read: fit it again"
        )
    digest = content.pop("digest", None)
    if digest != _digest(content):
        raise ScoreFileError(
            f"{file} was changed after it was saved: its digest does not match. Fit it again"
        )
    try:
        return _score(content, digest)
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise ScoreFileError(f"{file} cannot be understood ({type(error).__name__}): fit it again") from None


def _digest(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def _content(score: "LearnedScore") -> dict[str, Any]:
    from langroute.tuning.hashing import REGIONS, SIZE

    return {
        "format": _FORMAT,
        "version": _VERSION,
        "kind": score.kind,
        "step": score.step,
        "tiers": list(score.tiers),
        "trained": dict(score.trained),
        "names": list(score.names),
        "mean": _numbers(score.mean),
        "scale": _numbers(score.scale),
        "regions": [SIZE, *REGIONS],
        "idf": _packed(score.idf),
        "heads": {tier: _head(head) for tier, head in score.heads.items()},
        "above": {tier: _head(head) for tier, head in score.above.items()},
    }


def _head(head: "Head") -> dict[str, Any]:
    return {
        "bias": head.bias,
        "weights": _numbers(head.weights),
        "text": _packed(head.text),
        "vector": _packed(head.vector),
        "trees": [
            {part.name: list(getattr(tree, part.name)) for part in fields(tree)} for tree in head.trees
        ],
        "calibration": {
            "slope": head.calibration.slope,
            "shift": head.calibration.shift,
            "points": [list(point) for point in head.calibration.points],
        },
    }


def _numbers(array: Any) -> list[float]:
    return [float(value) for value in array]


def _packed(array: Any) -> str | None:
    """Return an array as text: base64 of its 32-bit floats, little end first."""
    return None if array is None else base64.b64encode(array.astype("<f4").tobytes()).decode()


def _score(content: Mapping[str, Any], digest: str) -> "LearnedScore":
    try:
        import numpy as np
    except ImportError:
        raise ImportError(_MISSING) from None
    from langroute.tuning.hashing import REGIONS, SIZE
    from langroute.tuning.learned import LearnedScore

    if content["kind"] not in {"prompt", "reply"}:
        raise ValueError(content["kind"])
    if content["idf"] is not None and content["regions"] != [SIZE, *REGIONS]:
        raise ValueError("text was hashed in another way")
    read = LearnedScore(
        content["kind"],
        str(content["step"]),
        tuple(map(str, content["tiers"])),
        tuple(map(str, content["names"])),
        np.array(content["mean"], float),
        np.array(content["scale"], float),
        {tier: _read_head(head) for tier, head in content["heads"].items()},
        {tier: _read_head(head) for tier, head in content["above"].items()},
        _unpacked(content["idf"]),
        content["trained"],
        digest,
    )
    _check(read)
    return read


def _read_head(told: Mapping[str, Any]) -> "Head":
    import numpy as np

    from langroute.tuning.learned import Calibration, Head, Tree

    curve = told["calibration"]
    return Head(
        float(told["bias"]),
        np.array(told["weights"], float),
        _unpacked(told["text"]),
        _unpacked(told["vector"]),
        tuple(Tree(**tree) for tree in told["trees"]),
        Calibration(
            float(curve["slope"]),
            float(curve["shift"]),
            tuple((float(x), float(y)) for x, y in curve["points"]),
        ),
    )


def _unpacked(text: str | None) -> Any:
    import numpy as np

    return None if text is None else np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(float)


def _check(score: "LearnedScore") -> None:
    """Find arrays that do not fit together, and trees that would lead nowhere or round for ever."""
    from langroute.tuning.hashing import SIZE

    size = len(score.names)
    if len(score.mean) != size or len(score.scale) != size or not (score.scale > 0).all():
        raise ValueError("values")
    if score.idf is not None and len(score.idf) != SIZE:
        raise ValueError("idf")
    for head in (*score.heads.values(), *score.above.values()):
        if len(head.weights) != size or (head.text is not None and len(head.text) != SIZE):
            raise ValueError("head")
        for tree in head.trees:
            for node, at in enumerate(tree.feature):
                on = (tree.left[node], tree.right[node])
                if at >= size or (at >= 0 and not all(node < child < len(tree.value) for child in on)):
                    raise ValueError("tree")
