"""Ways to run the command: in this process (`cli`), or as a process of its own that no network can be reached from."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Trained

CLOSED = "http://127.0.0.1:9"
"""The discard port, where nothing listens: whatever tries the network fails at once."""

Run = Callable[..., "Ran"]


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    def fails(self, code: int, *parts: str) -> None:
        """Assert one clear message with all `parts`, this exit code, no traceback and nothing on stdout."""
        assert (self.code, self.out) == (code, ""), self.err
        assert sum(line.startswith("error:") for line in self.err.splitlines()) == 1, self.err
        assert "Traceback" not in self.err, self.err
        for part in parts:
            assert part in self.err, self.err


@pytest.fixture(scope="session", autouse=True)
def command() -> Iterator[None]:
    """Build the command once: typer makes it anew from all signatures for each process."""
    import typer

    from bertft.cli import app as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "app", typer.main.get_command(module.app))
        yield


@pytest.fixture
def cli(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs the command in this process."""

    def run(*arguments: object, stdin: bytes | str = b"") -> Ran:
        from bertft.cli import main

        data = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(data)), encoding="utf-8"))  # type: ignore[type-var]
        capsysbinary.readouterr()
        code = main([str(argument) for argument in arguments])
        seen = capsysbinary.readouterr()
        return Ran(code, seen.out.decode(), seen.err.decode())

    return run


@pytest.fixture(scope="session")
def offline(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of subprocesses: an empty Hub cache, and endpoint and proxies at a closed port."""
    proxies = {name: CLOSED for base in ("http_proxy", "https_proxy", "all_proxy") for name in (base, base.upper())}
    kept = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    return {
        **kept,
        **proxies,
        "HF_ENDPOINT": CLOSED,
        "HF_HOME": str(tmp_path_factory.mktemp("hub")),
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
    }


@pytest.fixture(scope="session")
def shell(offline: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a function that runs the command as a process of its own; keyword arguments set its environment."""
    empty = tmp_path_factory.mktemp("cwd")

    def run(*arguments: object, stdin: str = "", **variables: object) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "bertft", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            env={**offline, **{name: str(value) for name, value in variables.items()}},
            cwd=empty,
            timeout=300,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def model(trained: Callable[[str], Trained]) -> Path:
    """A tiny trained tagger of PER, LOC and ORG."""
    return trained("bert-uncased").directory


@pytest.fixture(scope="session")
def encoder(base: Callable[[str], Path]) -> Path:
    """A tiny encoder to train from."""
    return base("bert-uncased")
