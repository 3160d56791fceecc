"""A chart as a file that loads nothing from the network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scaling.core.files import write_bytes, write_text
from scaling.errors import UsageError


def save(chart: Any, path: str | Path) -> None:
    """Write a chart as `.html` (loads nothing from the network), `.png`, `.svg` or `.json`.

    Args:
        chart: an altair chart.
        path: where to; the ending chooses the format. The file is replaced whole.

    Raises:
        UsageError: the ending is none of these.
        InputError: the file cannot be written.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in {".html", ".png", ".svg", ".json"}:
        raise UsageError(
            f"cannot write a chart as '{path.name}'; end the name in .html, .png, .svg or .json"
        )
    import vl_convert

    spec = json.dumps(chart.to_dict(), allow_nan=False, indent=1)
    version = vegalite_version()
    if ending == ".png":
        write_bytes(path, vl_convert.vegalite_to_png(spec, vl_version=version, scale=2))
    elif ending == ".svg":
        write_text(path, vl_convert.vegalite_to_svg(spec, vl_version=version))
    elif ending == ".html":
        write_text(path, vl_convert.vegalite_to_html(spec, vl_version=version, bundle=True))
    else:
        write_text(path, spec + "\n")


def vegalite_version() -> str:
    """The Vega-Lite version that altair writes for, as vl-convert spells it ("6.4")."""
    import altair as alt

    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
