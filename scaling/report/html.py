"""HTML from plain text: everything that comes from data passes through `escape`."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True)
class Markup:
    """Text that is HTML already, made by this package."""

    text: str


Cell = str | int | float | Markup | None


def escape(item: Cell) -> str:
    """HTML for one item; numbers are shown to four significant digits, None as a dash."""
    if isinstance(item, Markup):
        return item.text
    return html.escape(item if isinstance(item, str) else number(item), quote=True)


def number(value: float | None) -> str:
    """A number for people: `0.2955`, `12,800`, `1.2e-05`, or a dash."""
    if value is None:
        return "–"
    if isinstance(value, int) or (abs(value) >= 1000 and float(value).is_integer()):
        return f"{int(value):,}"
    size = abs(value)
    return f"{value:,.0f}" if 1e3 <= size < 1e15 else f"{value:.4g}"


def percent(value: float | None) -> str:
    """A share for people: `73.1%`."""
    return "–" if value is None else f"{value:.1%}"


def interval(ends: Sequence[float] | None, *, share: bool = False) -> str:
    """`[0.21, 0.34]`, or a dash."""
    if ends is None:
        return "–"
    show = percent if share else number
    return f"[{show(float(ends[0]))}, {show(float(ends[1]))}]"


def table(head: Sequence[str], rows: Iterable[Sequence[Cell]], numeric: Iterable[int] = ()) -> str:
    """An HTML table; the columns in `numeric` are set to the right."""
    right = set(numeric)

    def line(tag: str, cells: Sequence[Cell]) -> str:
        return "".join(
            f'<{tag} class="number">{escape(cell)}</{tag}>'
            if i in right
            else f"<{tag}>{escape(cell)}</{tag}>"
            for i, cell in enumerate(cells)
        )

    body = "\n".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return (
        f'<div class="wide"><table><thead><tr>{line("th", head)}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def items(lines: Iterable[Cell]) -> str:
    """An HTML list."""
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"
