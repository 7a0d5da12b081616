"""What can go wrong, how it is said, and the exit code it ends with.

Exception
└── BertftError       70  a bug, unless a subclass says otherwise
    ├── GateError      1  a check or a gate said no
    ├── UsageError     2  the command line or the recipe is wrong
    ├── DataError      3  a file, or a record in it, cannot be used
    │   └── OutputError   what is written cannot be: a full disk, a quota, a directory that has gone
    └── ModelError     4  a model cannot be found, loaded or used
"""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Iterable
from typing import ClassVar, Self

from typing_extensions import override

_LINE, _LINES = 1000, 50
"""What an error shows of a text: so many characters of a line, and so many lines."""


class BertftError(Exception):
    """An error for the user: the fact, the place (`path:line`) and the way out."""

    exit_code: ClassVar[int] = 70

    def __init__(self, fact: str, *, place: object = None, help: str | None = None) -> None:
        super().__init__(fact)
        self.fact = fact
        self.place = place
        self.help = help

    @override
    def __str__(self) -> str:
        lines = [_bounded(self.fact)]
        if self.place is not None:
            lines.append(f"  --> {_bounded(str(self.place))}")
        if self.help is not None:
            lines.append(f"   help: {_bounded(self.help)}")
        return printable("\n".join(lines))


class GateError(BertftError):
    """A check or a gate said no."""

    exit_code = 1


class UsageError(BertftError):
    """The command line or the recipe is wrong."""

    exit_code = 2


class DataError(BertftError):
    """A file, or a record in it, cannot be used."""

    exit_code = 3


_ROOM = "make room there, or name another place"
_WAYS_OUT = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: f"the quota is used up: {_ROOM}",
    errno.EFBIG: "files may not become so large: `ulimit -f` shows the limit, `ulimit -f unlimited` lifts it",
    errno.ENOENT: "there is no such directory; make it, or name another",
    errno.EROFS: "the file system is read-only; name another place",
    errno.EACCES: "the directory may not be written; name another place",
}


class OutputError(DataError):
    """What is written cannot be: a full disk, a quota, a limit, a directory that has gone or may not be written."""

    @classmethod
    def of(cls, error: OSError, place: object, *, help: str | None = None) -> Self:
        """Return the error for what the system said about writing `place`; `help` says more than the usual way out."""
        fact = error.strerror or str(error) or type(error).__name__
        ways = [way for way in (_WAYS_OUT.get(error.errno or 0), help) if way]
        return cls(f"cannot write: {fact}", place=place, help="; ".join(ways) or None)

    @staticmethod
    def is_said_by(error: OSError) -> bool:
        """Say whether an error of the system is one of writing, wherever it comes up."""
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


class ModelError(BertftError):
    """A model cannot be found, loaded or used."""

    exit_code = 4


# a password in a URL, and what the Hub's and AWS's keys look like
_SECRET = re.compile(r"(?<=://)[^/\s@]+(?=@)|\bhf_[A-Za-z0-9]{20,}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")
_SECRETS_NAME = re.compile(r"(TOKEN|SECRET|PASSWORD|API_?KEY|(ACCESS|SECRET|PRIVATE)_KEY)$")
_SECRET_LENGTH = 8  # a shorter one may stand in any text


def _bounded(text: str) -> str:
    """Return `text` as part of an error's block, whatever a file put into it: long lines cut, indented but the first.

    A name from a file may be a megabyte long, or have a line break and what looks like another error in it.
    """
    first, *rest = (line if len(line) <= _LINE else f"{line[:_LINE]} …" for line in text.split("\n"))
    if len(rest) > _LINES:
        rest = [*rest[:_LINES], "…"]
    return "\n".join([first, *(line if line.startswith("  ") else f"  {line}" for line in rest)])


def printable(text: str) -> str:
    """Return `text` with control characters escaped and secrets left out.

    So a label or a path cannot drive the terminal, and no message gives away what the environment holds.
    """
    for value in environment_secrets():
        text = text.replace(value, "…")
    text = _SECRET.sub("…", text)
    return "".join(c if c in "\n\t" or c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def environment_secrets() -> list[str]:
    """Return the values of environment variables whose names say that they are secret."""
    return [value for name, value in os.environ.items() if len(value) >= _SECRET_LENGTH and _SECRETS_NAME.search(name)]


def inline(text: str) -> str:
    """Return `text`, printable, on one line: what a file names cannot pass for a line of ours."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def cut(text: str, length: int) -> str:
    """Return at most `length` characters of a text, the last of them an ellipsis where it is longer."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def did_you_mean(word: str, choices: Iterable[str], otherwise: str | None = None) -> str | None:
    """Return a sentence that names the choice nearest to `word`, or `otherwise` where none is near."""
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else otherwise


def first_line(error: BaseException) -> str:
    """Return the first line of an error of another package that is not blank, or its type where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
