"""A diagnosis as one page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from recurra.display import safe, table
from recurra.errors import RunError
from recurra.inspection import charts, notebook
from recurra.inspection.diagnosis import Diagnosis

SCRIPT = Path(__file__).with_name("charts.js")
STYLE = """
body {
    font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 1000px;
    margin: 2rem auto; padding: 0 1rem;
}
h1 { font-size: 1.6rem; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .3rem; }
p { margin: .3rem 0; }
.note { color: #555; font-size: .9rem; }
.notice {
    border-left: 5px solid #009e73; background: #eef8f4; padding: .7rem 1rem; margin: .7rem 0;
}
.notice.problem { border-color: #d55e00; background: #fdf3ec; }
.notice.warning { border-color: #e69f00; background: #fdf8ea; }
figure.chart { margin: .5rem 0 0; position: relative; }
canvas { width: 100%; display: block; }
.legend {
    list-style: none; display: flex; flex-wrap: wrap; gap: .1rem .9rem; margin: 0 0 .3rem;
    padding: 0;
}
.legend button {
    font: inherit; font-size: .9rem; color: inherit; background: none; border: 0; padding: .1rem 0;
    cursor: pointer;
}
.legend button[aria-pressed=false] { opacity: .4; text-decoration: line-through; }
.tip {
    position: absolute; pointer-events: none; background: #1a1a1a; color: #fff; font-size: .85rem;
    padding: .1rem .5rem;
}
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; margin: .5rem 0; }
th, td {
    text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid #ddd;
    vertical-align: top;
}
"""


def write_report(
    diagnosis: Diagnosis,
    path: str | PathLike[str],
    *,
    history: Iterable[Mapping[str, Any]] = (),
    title: str = "Inspection",
    facts: Mapping[str, str] | None = None,
) -> None:
    """Write a diagnosis as one self-contained HTML page: verdicts, facts, and charts that one can
    hover, without a network.

    Args:
        diagnosis: from `diagnose`.
        path: the file to write.
        history: the rows of a run, for the charts of its loss and its gradient norm.
        title: the page's.
        facts: further lines of its table, by name.

    Raises:
        RunError: the file cannot be written.
    """
    text = _page(diagnosis, list(history), title, facts or {})
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"out must be a file that can be written, got {str(path)!r} ({error.strerror})"
        ) from None


def _page(
    diagnosis: Diagnosis, history: list[Mapping[str, Any]], title: str, facts: Mapping[str, str]
) -> str:
    head = (
        '<meta charset="utf-8"><meta name="viewport"'
        f' content="width=device-width"><title>{safe(title)}</title><style>{STYLE}</style>'
    )
    body = [f"<h1>{safe(title)}</h1>", notebook.verdict_notices(diagnosis), "<h2>Facts</h2>"]
    body += [
        table([], {**facts, **notebook.facts(diagnosis)}.items()),
        notebook.layer_table(diagnosis),
    ]
    for heading, note, chart in _charts(diagnosis, history):
        if chart is not None:
            body.append(f'<h2>{heading}</h2><p class="note">{note}</p>{chart.to_html(heading)}')
    body.append(
        "<noscript>The charts need"
        f" JavaScript.</noscript><script>{SCRIPT.read_text(encoding='utf-8')}</script>"
    )
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n'
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _charts(diagnosis: Diagnosis, history: list[Mapping[str, Any]]) -> list[tuple[str, str, Any]]:
    layers = diagnosis.layers
    return [
        (
            "Gradient by step",
            "|dL/dh_t|, its mean over rows: what reaches each hidden state.",
            charts.flow_chart(layers),
        ),
        (
            "Gradient by lag",
            (
                "What is left of a gradient in no special direction on its way back from t to k:"
                " the root mean square of the singular values of dh_t/dh_k and dc_t/dc_k."
            ),
            charts.lag_chart(layers, diagnosis.window),
        ),
        (
            "Retention",
            "What each unit's gates keep of its state at a step, on average.",
            charts.retention_chart(layers),
        ),
        (
            "Time constants",
            "Steps in which a unit forgets all but 1/e of its state: -1 / ln(retention).",
            charts.time_chart(layers),
        ),
        (
            "Saturation",
            "Values of each gate at an end of its range, where it hardly learns.",
            charts.saturation_chart(layers),
        ),
        (
            "Loss",
            "By training step; of a long run each point is the mean of a few.",
            charts.loss_chart(history),
        ),
        (
            "Gradient norm",
            (
                "Of all gradients together, before clipping; of a long run each point is the"
                " highest of a few."
            ),
            charts.norm_chart(history, diagnosis.clip_norm),
        ),
    ]
