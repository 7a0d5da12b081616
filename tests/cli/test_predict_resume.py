"""`predict --out … --resume`: whatever stopped a run, what it left is continued, and the bytes are those of one run."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from cli.conftest import Run
from faults.records import KINDS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertft.bundle.store import open_bundle
from bertft.cli import main
from bertft.inference import chunks, output
from bertft.inference.engine import Engine
from bertft.inference.output import Answers, open_out
from bertft.inference.predict import Filter, Options
from bertft.signals import Interrupted

ROWS = 150
ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


class Disk(FileIO):
    """A file that takes so many bytes, and then fails."""

    room = 0
    fault: BaseException = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(self, block: Any) -> int:
        left = Disk.room - self.tell()
        if left <= 0:
            raise Disk.fault
        return super().write(memoryview(block)[:left])


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write down more often: after chunks of 4 to 16 records."""
    monkeypatch.setattr(chunks, "_FIRST_CHUNK", 4)
    monkeypatch.setattr(chunks, "LOOK_AHEAD", 16)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function after which no answers can be written beyond so many bytes."""

    def after(room: int, fault: BaseException | None = None) -> None:
        monkeypatch.setattr(output, "FileIO", Disk)
        monkeypatch.setattr(Disk, "room", room)
        monkeypatch.setattr(Disk, "fault", fault or OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    return after


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """150 lines of text."""
    path = tmp_path / "in.txt"
    path.write_bytes(KINDS["text"].stream(ROWS))
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "answers"


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def partial(out: Path) -> Path:
    return out.with_name("answers.partial")


def left(out: Path) -> list[str]:
    return sorted(path.name for path in out.parent.glob("answers*"))


@pytest.fixture(scope="module")
def ready(model: Path) -> Engine:
    """The model, loaded once."""
    return Options(device="cpu").load(open_bundle(str(model)))


@settings(max_examples=30, suppress_health_check=[*HealthCheck])
@given(
    kind=st.sampled_from(sorted(KINDS)),
    bad=st.frozensets(st.integers(0, ROWS - 1), max_size=5),
    faults=st.lists(
        st.tuples(st.integers(0, 60_000), st.sampled_from([*ERRORS, "interrupt", "kill"])), min_size=1, max_size=4
    ),
    data=st.data(),
)
def test_any_faults_at_any_bytes_leave_the_output_of_one_run(
    model: Path, ready: Engine, tmp_path: Path, kind: str, bad: frozenset[int], faults: list[Any], data: st.DataObject
) -> None:
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    paths = [tmp_path / f"{i}.{kind}" for i in range(2)]
    paths[0].write_bytes(KINDS[kind].stream(ROWS, faults=bad))
    paths[1].write_bytes(KINDS[kind].stream(40))
    mode = data.draw(st.sampled_from(["null", "skip"]))
    common = ["predict", str(model), *map(str, paths), "--format", kind, "--on-error", mode, "-q"]
    out = tmp_path / "answers"
    with patch.object(Options, "load", lambda self, bundle: ready):
        assert main([*common, "--out", str(tmp_path / "whole")]) == 0
        whole = (tmp_path / "whole").read_bytes()
        for room, how in faults:
            error = OSError(how, os.strerror(how)) if isinstance(how, int) else KeyboardInterrupt()
            disk = patch.multiple(Disk, room=room, fault=error)
            leave = (lambda self, error: None) if how == "kill" else Answers.leave
            with disk, patch.object(output, "FileIO", Disk), patch.object(Answers, "leave", leave):
                code = main([*common, "--out", str(out), "--resume"])
            assert code == (0 if room >= len(whole) else 3 if isinstance(how, int) else 130)
            assert out.exists() is (code == 0)
            if code == 0:
                break
        assert main([*common, "--out", str(out), "--resume"]) == 0
    assert out.read_bytes() == whole
    assert left(out) == ["answers"]


@pytest.mark.parametrize("skip", [0, 1, 4, 7, 12, 149, 150])
def test_a_mark_within_a_chunk_loses_no_record(model: Path, ready: Engine, source: Path, skip: int) -> None:
    bundle = open_bundle(str(model))
    blocks = Filter(ready, None).answer(Options().open(bundle, str(source)), skip=skip)
    numbers = [number for number, _ in KINDS["text"].answers(b"".join(blocks).splitlines())]
    assert numbers == list(range(skip, ROWS))


def test_what_is_answered_is_not_answered_again(
    cli: Run, model: Path, source: Path, out: Path, full: Callable[..., None]
) -> None:
    whole = cli("predict", model, source, "-q").out
    full(30_000)
    ran = cli("predict", model, source, "--out", out)
    ran.fails(3, "No space left on device", str(out), "make room", "answers.partial", "--resume")
    done = json.loads(partial(out).with_name("answers.partial.json").read_text())["mark"]["records"]
    assert 16 < done < ROWS
    full(10**9)
    with patch.object(Answers, "write", autospec=True, side_effect=Answers.write) as write:
        ran = cli("predict", model, source, "--out", out, "--resume")
    assert ran.code == 0, ran.err
    assert f"resumed behind {done:,} records" in ran.err
    assert out.read_text() == whole
    written = b"".join(call.args[1] for call in write.call_args_list)
    assert written.count(b"\n") == ROWS - done


@pytest.mark.parametrize(("fault", "code"), [(KeyboardInterrupt(), 130), (Interrupted(signal.SIGTERM), 143)])
def test_an_interruption_names_the_command_that_continues(
    cli: Run, model: Path, source: Path, out: Path, full: Callable[..., None], fault: BaseException, code: int
) -> None:
    full(30_000, fault)
    ran = cli("predict", model, source, "--out", out, "--field", "my answer")
    ran.fails(code, "interrupted")
    assert f"continues: bertft predict {model} {source} --out {out} --field 'my answer' --resume\n" in ran.err


def test_unfinished_answers_are_neither_lost_nor_continued_in_silence(
    cli: Run, model: Path, source: Path, out: Path, full: Callable[..., None]
) -> None:
    full(30_000)
    cli("predict", model, source, "--out", out, "-q").fails(3)
    full(10**9)
    before = partial(out).read_bytes()
    cli("predict", model, source, "--out", out).fails(2, "was not finished", "--resume", "--overwrite")
    cli("predict", model, "--out", out, stdin="a\n").fails(2, "was not finished")
    assert partial(out).read_bytes() == before
    assert cli("predict", model, source, "--out", out, "--overwrite").code == 0
    assert (lines(out), left(out)) == (ROWS, ["answers"])


def test_a_finished_file_is_replaced_by_a_run_that_resumes_nothing(
    cli: Run, model: Path, source: Path, out: Path
) -> None:
    for _ in range(2):
        ran = cli("predict", model, source, "--out", out, "--resume")
        assert ran.code == 0
        assert "nothing to resume" in ran.err
        assert (lines(out), left(out)) == (ROWS, ["answers"])
        source.write_bytes(KINDS["text"].stream(ROWS, seed=1))


def test_another_run_is_not_continued(
    cli: Run, model: Path, source: Path, out: Path, full: Callable[..., None], tmp_path: Path
) -> None:
    full(30_000)
    cli("predict", model, source, "--out", out, "-q").fails(3)
    full(10**9)
    run = ("predict", model, source, "--out", out, "--resume")
    cli(*run, "--field", "x").fails(2, "of another run: --field: prediction before, x now", "--overwrite")
    cli(*run, "--batch-tokens", 8, "--scores").fails(2, "--scores: False before, True now", "--batch-tokens")
    cli(*run, "--shard", "1/2").fails(2, "--shard: nothing before, 1/2 now")
    other = tmp_path / "model"
    shutil.copytree(model, other)
    config = other / "bertft.json"
    config.write_text(config.read_text() + "\n")
    cli("predict", other, *run[2:]).fails(2, "the model's bertft.json")
    cli("predict", model, source, source.parent / "none.txt", *run[3:]).fails(3, "there is no file", "none.txt")
    text = source.read_bytes()
    source.write_bytes(text + b"one more\n")
    cli(*run).fails(2, "the content of input 1")
    source.write_bytes(text)
    moved = tmp_path / "elsewhere" / source.name
    moved.parent.mkdir()
    moved.write_bytes(text)
    assert cli("predict", model, moved, *run[3:]).code == 0
    assert lines(out) == ROWS


def test_after_a_bad_record_it_goes_on_without_it(cli: Run, model: Path, tmp_path: Path, out: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(KINDS["jsonl"].stream(ROWS, faults=frozenset({100})))
    ran = cli("predict", model, source, "--out", out)
    ran.fails(3, "in.jsonl:101", "--resume --on-error skip")
    assert lines(partial(out)) == 100
    cli("predict", model, source, "--out", out, "--resume").fails(3, "in.jsonl:101")
    assert cli("predict", model, source, "--out", out, "--resume", "--on-error", "null").code == 0
    assert out.read_text() == cli("predict", model, source, "--on-error", "null").out


def test_what_is_done_with_bad_records_is_not_changed_halfway(
    cli: Run, model: Path, tmp_path: Path, out: Path, full: Callable[..., None]
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(KINDS["jsonl"].stream(ROWS, faults=frozenset({1})))
    full(30_000)
    cli("predict", model, source, "--out", out, "--on-error", "null").fails(3)
    full(10**9)
    cli("predict", model, source, "--out", out, "--on-error", "skip", "--resume").fails(2, "--on-error: null before")
    ran = cli("predict", model, source, "--out", out, "--on-error", "null", "--resume")
    assert "1 of 150 records were bad" in ran.err


@pytest.mark.parametrize("damage", ["cut", "changed", "note"])
def test_damaged_answers_are_not_used(
    cli: Run, model: Path, source: Path, out: Path, full: Callable[..., None], damage: str
) -> None:
    full(30_000)
    cli("predict", model, source, "--out", out, "-q").fails(3)
    full(10**9)
    content = bytearray(partial(out).read_bytes())
    if damage == "note":
        partial(out).with_name("answers.partial.json").write_text('{"run": {}, "mark": {"input"')
    elif damage == "cut":
        partial(out).write_bytes(content[:1000])
    else:
        content[500] ^= 1
        partial(out).write_bytes(content)
    ran = cli("predict", model, source, "--out", out, "--resume")
    assert ran.code == 0, ran.err
    assert "nothing to resume" in ran.err
    assert ("is damaged" in ran.err) is (damage != "note")
    assert out.read_text() == cli("predict", model, source, "-q").out


def test_after_the_machine_went_down_what_was_on_the_disk_is_used(
    cli: Run, model: Path, source: Path, out: Path, full: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answers, "leave", lambda self, error: None)
    full(15_000)
    monkeypatch.setattr(output, "_SHARE", 10**9)  # once, before the first chunk
    run = ("predict", model, source, "--out", out)
    cli(*run, "-q").fails(3)
    note = partial(out).with_name("answers.partial.json")
    found = json.loads(note.read_text())
    assert (found["forced"]["mark"], found["mark"]["records"] > 4) == (None, True)
    full(30_000)
    monkeypatch.setattr(output, "_SHARE", 10**9)
    cli(*run, "-q", "--resume").fails(3)  # forced where it was gone on with
    found, forced = json.loads(note.read_text()), found["mark"]["records"]
    assert found["forced"]["mark"]["records"] == forced < found["mark"]["records"]
    content = partial(out).read_bytes()
    partial(out).write_bytes(content[: found["bytes"] - 100])  # what came later did not reach the disk
    full(10**9)
    ran = cli(*run, "--resume")
    assert ran.code == 0, ran.err
    assert "the end of its answers is not used" in ran.err
    assert f"resumed behind {forced} records" in ran.err
    assert out.read_text() == cli("predict", model, source, "-q").out


def test_two_runs_do_not_write_one_file(cli: Run, model: Path, source: Path, out: Path) -> None:
    with open_out(str(out)) as stream:
        assert isinstance(stream, Answers)
        who = f"process {os.getpid()} on {os.uname().nodename}"
        for option in ((), ("--resume",), ("--overwrite",)):
            cli("predict", model, source, "--out", out, *option).fails(2, "another run is writing", who)
        stream.begin(None)
    assert left(out) == ["answers"]
    assert cli("predict", model, source, "--out", out).code == 0


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (["in.txt", "--resume"], "`--out FILE` names it"),
        (["--resume", "--out", "x"], "'-' is no file"),
        (["in.txt", "-", "--resume", "--out", "x"], "'-' is no file"),
        (["pipe", "--resume", "--out", "x"], "is no file"),
        (["in.txt", "--resume", "--out", "pipe"], "--resume needs a file"),
        (["in.txt", "--resume", "--overwrite", "--out", "x"], "one of them"),
        (["in.txt", "--overwrite", "--engine", "ray", "--out", "x"], "leave out --overwrite"),
    ],
)
def test_what_cannot_be_resumed_is_said(
    cli: Run, model: Path, source: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], fact: str
) -> None:
    monkeypatch.chdir(source.parent)
    os.mkfifo("pipe")
    cli("predict", model, *arguments, stdin="a\n").fails(2, fact)
    assert sorted(os.listdir()) == ["in.txt", "pipe"]


def test_answers_to_a_pipe_that_were_interrupted_are_left_and_replaced(
    cli: Run, model: Path, source: Path, out: Path, full: Callable[..., None]
) -> None:
    full(30_000)
    ran = cli("predict", model, "--out", out, stdin=source.read_bytes())
    ran.fails(3, "the answers so far are in")
    assert "--resume" not in ran.err
    assert left(out) == ["answers.partial"]
    full(10**9)
    assert cli("predict", model, "--out", out, stdin=source.read_bytes()).code == 0
    assert left(out) == ["answers"]


@pytest.mark.parametrize("fault", ["removed", "moved", "read-only"])
def test_a_directory_that_goes_is_one_message(
    cli: Run, model: Path, source: Path, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault == "read-only" and os.geteuid() == 0:
        pytest.skip("root may write to read-only directories")
    folder, moved = tmp_path / "folder", tmp_path / "moved"
    folder.mkdir()
    record = Answers.record

    def failing(self: Answers, mark: Any) -> None:
        if mark["records"] > 60 and folder.exists():
            match fault:
                case "removed":
                    shutil.rmtree(folder)
                case "moved":
                    folder.rename(moved)
                case _:
                    folder.chmod(0o500)
        record(self, mark)

    monkeypatch.setattr(Answers, "record", failing)
    ran = cli("predict", model, source, "--out", folder / "answers", "-q")
    folder.exists() and folder.chmod(0o700)
    ran.fails(3, "cannot write", str(folder / "answers"))
    monkeypatch.setattr(Answers, "record", record)
    if fault == "removed":
        assert "answers so far" not in ran.err
        return
    out = (moved if fault == "moved" else folder) / "answers"
    ran = cli("predict", model, source, "--out", out, "--resume")
    assert "resumed behind" in ran.err
    assert out.read_text() == cli("predict", model, source, "-q").out


@pytest.mark.slow
def test_a_limit_of_file_sizes_and_a_kill(
    model: Path, source: Path, out: Path, offline: dict[str, str], cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # processes of their own have chunks of the usual sizes
    source.write_bytes(KINDS["text"].stream(8_000))
    command = [sys.executable, "-m", "bertft", "predict", str(model), str(source), "--out", str(out), "--resume"]
    environment = {**offline, "PYTHONPATH": str(Path(output.__file__).parents[2])}

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    ran = subprocess.run(command, env=environment, preexec_fn=limited, capture_output=True, text=True, check=False)
    assert ran.returncode == 3, ran.stderr
    assert "File too large" in ran.stderr
    assert "ulimit" in ran.stderr
    assert "Traceback" not in ran.stderr
    size = partial(out).stat().st_size
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        while partial(out).stat().st_size <= size + 100_000:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    assert not out.exists()
    assert cli(*command[3:], "-q").code == 0
    assert out.read_text() == cli("predict", model, source, "-q").out


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_full_disk_behind_stdout_is_one_message(model: Path, source: Path, offline: dict[str, str]) -> None:
    environment = {**offline, "PYTHONPATH": str(Path(output.__file__).parents[2])}
    command = [sys.executable, "-m", "bertft", "predict", str(model), str(source), "-q"]
    with open("/dev/full", "wb") as stdout:
        ran = subprocess.run(command, env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)
    assert ran.returncode == 3
    assert ran.stderr.startswith("error: cannot write: No space left on device\n  --> <stdout>\n")
    assert ran.stderr.count("\n") == 3


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_device_that_is_named_and_full_is_one_message(cli: Run, model: Path, source: Path) -> None:
    cli("predict", model, source, "--out", "/dev/full").fails(3, "No space left on device", "/dev/full")
