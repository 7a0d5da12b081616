"""A report as one HTML file: its place looked at before the work, its parts put together, written in one go.

The file loads nothing and sends nothing: style and script stand in it, and its policy (CSP) names them by their hash.
What comes from files is escaped by the template or stands in a JSON block that the script shows as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

from bertft.errors import OutputError, UsageError
from bertft.extras import require

_PACKAGES = ("jinja2", "matplotlib")
_FOLDER = "templates"
_START = b"<!doctype html>"
# controls, marks that turn the direction of what follows, and what nobody sees; but joiners, which scripts need
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)


def check_place(path: str) -> None:
    """Find out whether a report can be made and written, before the work for it starts.

    Raises UsageError for packages that are missing, for what is no file, and for a file that is no report and would be
    lost; OutputError where nothing can be written. Folders that are missing are made later.
    """
    require(*_PACKAGES, extra="report", by="--report")
    target = Path(path)
    if not path or target.is_dir():
        raise UsageError("--report: this is a directory, not a file to write to", place=path)
    if target.exists() and not target.is_file():
        raise UsageError("--report: this is a pipe or a device, not a file", place=path)
    try:
        if target.exists() and not _is_page(target):
            raise UsageError("--report would replace a file that is no report", place=path, help="name another file")
        folder = next(one for one in target.absolute().parents if one.exists())
        probe = folder / f".{target.name}.{os.getpid()}.partial"
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise OutputError.of(error, path) from error


def _is_page(target: Path) -> bool:
    """Say whether a file may be replaced: it is HTML, or empty."""
    with target.open("rb") as file:
        start = file.read(len(_START))
    return not start or start.lower() == _START


def write(path: str, text: str) -> None:
    """Write a report in one go, in the place of one that is there; raises OutputError where it cannot be."""
    target = Path(path)
    written = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with written.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        written.replace(target)
    except OSError as error:
        with suppress(OSError):
            written.unlink()
        raise OutputError.of(error, path) from error


def render(page: Mapping[str, Any], listed: Mapping[str, Any]) -> str:
    """Return the HTML of a page, as `pages.py` makes it, with its list of rows (`mistakes.py`)."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: visible(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = _text("report.css"), _text("report.js")
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    return environment.get_template("report.html").render(
        page=page,
        policy=policy,
        style=Markup(style),  # noqa: S704  (files of this package)
        script=Markup(script),  # noqa: S704
        listed=listed,
        rows=Markup(embedded(listed)),  # noqa: S704  (escaped there)
    )


def embedded(value: object) -> str:
    """Return a value as JSON that can stand in an HTML element: it closes none and opens none."""
    text = json.dumps(_visible(value), ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def visible(text: str) -> str:
    """Return `text` with what cannot be seen, or turns the text around it, written out."""
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def _visible(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {key: _visible(inner) for key, inner in value.items()}
    return [_visible(inner) for inner in value] if isinstance(value, list | tuple) else value


def _text(name: str) -> str:
    return (resources.files("bertft.report") / _FOLDER / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
