"""The figures beside a threshold: what it saves, what it surely keeps, what the cheap tier costs."""

import numpy as np
from scipy import special

from langroute.tuning.evidence import Rows, summed
from langroute.tuning.guarantee import Floats, PValue, fixed_sequence
from langroute.tuning.sweep import Sweep

__all__ = ["cheap_cost", "kept_at_least", "saving_interval"]

_FEW_ROWS = 20_000
"""Rows up to which qualities are told apart by `_FINE` parts of 1, above them by `_COARSE`."""
_FINE, _COARSE = 1_000, 100

_AT_ONCE = 15
"""Shares of the strong tier's quality that are tried at once for the bound of what is kept."""


def cheap_cost(rows: Rows) -> float:
    """Return what the cheap tier costs, as a share of what the strong one does."""
    return float(rows.weights @ rows.cheap_usd / (rows.weights @ rows.strong_usd))


def saving_interval(rows: Rows, swept: Sweep, at: int, level: float) -> tuple[float, float]:
    """Return the two-sided interval of the saving, a ratio of means, by linearisation."""
    drafted = rows.cheap_usd if swept.kind == "verify" else 0.0
    spent = np.where(swept.first <= at, rows.cheap_usd, drafted + rows.strong_usd)
    saving = float(swept.saving[at])
    residual = rows.weights * (spent - (1 - saving) * rows.strong_usd)
    error = float(np.sqrt((residual**2).sum()) / (rows.weights @ rows.strong_usd))
    reach = float(special.ndtri(1 - level / 2)) * error
    return saving - reach, saving + reach


def kept_at_least(rows: Rows, routed: Floats, p_value: PValue, level: float) -> float:
    """Return the largest share of the strong tier's quality that the rows show to be kept."""
    parts = _FINE if len(rows) <= _FEW_ROWS else _COARSE
    whole = (np.round(quality * parts).astype(np.intp) for quality in (routed, rows.strong))
    kinds, at = np.unique(np.ravel_multi_index(tuple(whole), (parts + 1, parts + 1)), return_inverse=True)
    mass = summed(at, rows.weights, len(kinds))
    each = summed(at, rows.weights**2, len(kinds)) / mass
    counts = np.broadcast_to(mass / each, (_AT_ONCE, len(kinds)))
    low, high = 0.0, 2.0
    for _ in range(4):
        floors = np.linspace(low, high, _AT_ONCE + 2)[1:-1, None]
        added = each * (kinds // (parts + 1) - floors * (kinds % (parts + 1))) / parts
        worst = -floors * float(rows.weights.max())
        shown = fixed_sequence(p_value(added, counts, worst), level)
        low, high = low + (high - low) * np.array([shown, shown + 1]) / (_AT_ONCE + 1)
    return float(low)
