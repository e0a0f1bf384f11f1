"""Five hundred texts that try to run, to break out of their place, or to deceive; and where to put them."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

from made_decisions import decisions

from langroute.ledger.records import AttemptRecord, DecisionRecord

__all__ = ["PAYLOADS", "poisoned"]

_RUN = "window.owned=1"
_ATTACKS = (
    f"<script>{_RUN}</script>",
    f"</script><script>{_RUN}</script>",
    f"<!--<script>{_RUN}</script>",
    f"--><script>{_RUN}</script>",
    f"]]><script>{_RUN}</script>",
    f"<img src=x onerror={_RUN}>",
    f'"><img src=x onerror="{_RUN}">',
    f"'><svg onload={_RUN}>",
    f"<svg><animate onbegin={_RUN} attributeName=x dur=1s>",
    f"<iframe srcdoc='<script>parent.{_RUN[7:]}</script>'></iframe>",
    f"<body onload={_RUN}>",
    f"<details open ontoggle={_RUN}>x</details>",
    f"<input autofocus onfocus={_RUN}>",
    f"<video><source onerror={_RUN}></video>",
    f"<a href='javascript:{_RUN}'>x</a>",
    f"<math><mtext><script>{_RUN}</script>",
    f"<style>@import 'http://127.0.0.1:9/x';</style><script>{_RUN}</script>",
    "<link rel=stylesheet href=http://127.0.0.1:9/x.css>",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
    "<base href=http://127.0.0.1:9/>",
    "<form action=http://127.0.0.1:9/><button>x",
    "<object data=http://127.0.0.1:9/></object>",
    "<img src=http://127.0.0.1:9/pixel.png>",
    "<b style='background:url(http://127.0.0.1:9/b)'>x</b>",
    "<a href='http://127.0.0.1:9/'>click</a>",
    f'";{_RUN};//',
    f"';{_RUN};//",
    f"`;{_RUN};//",
    f"${{{_RUN}}}",
    f"{{{{constructor.constructor('{_RUN}')()}}}}",
    f"\\u003cscript\\u003e{_RUN}\\u003c/script\\u003e",
    f"&lt;script&gt;{_RUN}&lt;/script&gt;",
    f"&#60;img src=x onerror={_RUN}&#62;",
    f"javascript:{_RUN}",
    f"data:text/html,<script>{_RUN}</script>",
    "%{x}<extra></extra>%{customdata.constructor}",
    "$\\href{javascript:window.owned=1}{x}$",
    "__proto__",
    "constructor",
    "toString",
    "hasOwnProperty",
    "[bold red]x[/] [link=http://127.0.0.1:9]y[/link]",
    "\x1b[31mred\x1b]0;owned\x07",
    "\u202egnp.exe\u202c \u200b\ufeff\u2066",
    "\u2028window.owned=1\u2029",
    "\ud800 \udfff",
    "\x00\x01\x7f\x9b",
    "</title></style></textarea></noscript></template>",
    "A" * 5_000,
    " ",
)
_CARRIERS = (
    "{}",
    "step {}",
    "{} \n{}",
    "\u00a0{}\t",
    '{{"a": "{}"}}',
    "<p>{}</p>",
    "/*{}*/",
    "//{}",
    'x\' y="{}"',
    "&amp;{}",
)

PAYLOADS = tuple(
    attack if carrier == "{}" else carrier.replace("{{", "{").replace("}}", "}").replace("{}", attack)
    for attack, carrier in itertools.product(_ATTACKS, _CARRIERS)
)
"""Five hundred: fifty attacks, each bare and in nine disguises."""


def poisoned() -> Iterator[tuple[DecisionRecord, float | None]]:
    """Yield a decision a payload, which stands in every text of its record, its attempts and verdicts."""
    for payload, (record, label) in zip(PAYLOADS, decisions(len(PAYLOADS)), strict=True):
        attempts = tuple(_attempt(attempt, payload) for attempt in record.attempts)
        yield dataclasses.replace(record, **_texts(record, payload), attempts=attempts), label


_KEPT = {"decision", "attempts", "feedback"}
_KEPT_VALUES = {"outcome": 3, "why": 2, "cost_basis": 2}
"""One in so many of these stays as it is: what they say decides what is drawn."""


def _texts(record: Any, payload: str) -> dict[str, Any]:
    return {
        field.name: _poison(getattr(record, field.name), payload)
        for field in dataclasses.fields(record)
        if field.name not in _KEPT and not _stays(field.name, payload)
    }


def _stays(name: str, payload: str) -> bool:
    return name in _KEPT_VALUES and len(payload) % _KEPT_VALUES[name] != 0


def _poison(value: Any, payload: str) -> Any:
    if isinstance(value, str):
        return payload
    if isinstance(value, list | tuple):
        return [_poison(inner, payload) for inner in value]
    if isinstance(value, dict):
        kept = {key: _poison(inner, payload) for key, inner in value.items()}
        return (
            kept
            if {"rungs", "tier", "endpoint", "choices", "verifier", "kind"} & set(kept)
            else {**kept, payload: 1.0}
        )
    return value


def _attempt(attempt: AttemptRecord, payload: str) -> AttemptRecord:
    return dataclasses.replace(attempt, **_texts(attempt, payload))
