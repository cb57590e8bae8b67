"""A figure of matplotlib that a notebook shows. pyplot, which would keep it, is not used, nor a
screen.
"""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """A figure that draws itself as a picture, whether or not the notebook has loaded pyplot."""

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()
