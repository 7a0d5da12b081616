"""`predict --engine ray` on two workers of this machine, one of them killed: the answers of a plain run, each once."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny

from bertft.cli import main
from bertft.inference.predict import Options

pytest.importorskip("ray", reason="Ray is not installed: `pip install 'bertft[ray]'`")

ROWS = 120


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a trained tagger."""
    folder = tmp_path_factory.mktemp("ray")
    tiny.build("bert-uncased", folder / "base")
    (folder / "train.conll").write_text(tiny.conll(tiny.sentences()))
    command = ["train", "ner", "--data", str(folder / "train.conll"), "--dev", str(folder / "train.conll")]
    options = ["--model", str(folder / "base"), "--out", str(folder / "model"), "--device", "cpu", "-q"]
    assert main([*command, *options, "--set", "trainer.num_train_epochs=1"]) == 0
    return folder / "model"


def records(folder: Path, files: int) -> list[Path]:
    """Write files of JSON Lines whose `id` counts on from one to the next."""
    texts = [" ".join(word for word, _ in sentence) for sentence in tiny.sentences()]
    paths = []
    for number in range(files):
        rows = [{"id": number * ROWS + i, "text": texts[i % len(texts)]} for i in range(ROWS)]
        paths.append(folder / f"part-{number:02}.jsonl")
        paths[-1].write_text("".join(json.dumps(row) + "\n" for row in rows))
    return paths


def plain(model: Path, paths: list[Path], out: Path) -> bytes:
    """Return what `predict` answers without Ray."""
    assert main(["predict", str(model), *map(str, paths), "--out", str(out), "--device", "cpu", "-q"]) == 0
    return out.read_bytes()


def command(model: Path, source: str, out: Path) -> list[str]:
    ray = ["--engine", "ray", "--workers", "2", "--device", "cpu"]
    return [sys.executable, "-m", "bertft", "predict", str(model), source, "--out", str(out), *ray]


def joined(out: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(out.iterdir()))


def workers_of(group: int) -> list[int]:
    """Return the processes of Ray workers that hold the model, of the session that `group` leads."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            title = (entry / "cmdline").read_bytes()
            session = int((entry / "stat").read_text().rpartition(")")[2].split()[3])
        except OSError:  # it has ended
            continue
        if b"ray::" in title and b"MapWorker" in title and session == group:
            found.append(int(entry.name))
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="the workers are found in /proc")
def test_a_killed_worker_loses_and_doubles_nothing(model: Path, tmp_path: Path) -> None:
    paths = records(tmp_path, 12)
    expected = plain(model, paths, tmp_path / "plain.jsonl")
    out = tmp_path / "out"
    running = subprocess.Popen(
        command(model, str(tmp_path / "part-*.jsonl"), out),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    killed = 0
    deadline = time.monotonic() + 300  # for what a busy machine takes to start Ray
    while not killed and running.poll() is None and time.monotonic() < deadline:
        if out.is_dir() and any(path.name[0] != "." for path in out.iterdir()):  # a worker is at it
            for worker in workers_of(running.pid)[:1]:
                os.kill(worker, signal.SIGKILL)
                killed = worker
        time.sleep(0.01)
    _, said = running.communicate(timeout=300)
    assert running.returncode == 0, said
    assert killed, "no worker could be killed while it ran"
    assert joined(out) == expected
    assert len(list(out.iterdir())) == 12
    assert f"{12 * ROWS:,} records answered, 0 bad" in said
    ids = [json.loads(line)["id"] for line in joined(out).splitlines()]
    assert ids == list(range(12 * ROWS))


def test_a_table_in_several_parts_has_one_header(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bertft.inference import cluster

    monkeypatch.setattr(cluster, "_LEAST_BYTES", 1)
    paths = []
    for number in range(2):
        rows = [f"{number}-{i},Ada Stone lives in Paris ." for i in range(50)]
        paths.append(tmp_path / f"t{number}.csv")
        paths[-1].write_text("\n".join(["id,text", *rows]) + "\n")
    parts = cluster._parts(list(map(str, paths)), tmp_path / "out", 2, "csv", lambda _: 50)
    assert len(parts) > 4
    (tmp_path / "out").mkdir()
    worker = cluster.Worker(str(model), Options(device="cpu"))
    for part in parts:
        assert worker({"part": [dataclasses.asdict(part)]})["error"] == [""]
    expected = plain(model, paths, tmp_path / "plain.csv")
    assert joined(tmp_path / "out") == expected
    assert expected.count(b"id,text") == 1


def test_inputs_of_several_formats_are_refused(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "b.csv").write_text("id,text\n1,Ada\n")
    inputs = [str(records(tmp_path, 1)[0]), str(tmp_path / "b.csv")]
    assert main(["predict", str(model), *inputs, "--engine", "ray", "--out", str(tmp_path / "out")]) == 2
    assert "would be answered in 2 formats" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_what_a_part_cannot_answer_is_said_and_the_others_are_kept(model: Path, tmp_path: Path) -> None:
    paths = records(tmp_path, 2)
    paths[1].write_text('{"id": 1, "text": "Ada"}\n{"id": 2}\n')
    done = subprocess.run(
        command(model, str(tmp_path / "part-*.jsonl"), tmp_path / "out"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "part-01.jsonl:2" in done.stderr
    assert "1 of 2 parts failed" in done.stderr
    assert "Traceback" not in done.stderr
    first = tmp_path / "out" / "0-part-00-1-of-1.jsonl"
    assert first.read_bytes() == plain(model, paths[:1], tmp_path / "p.jsonl")
    written = first.stat()
    resumed = [*command(model, str(tmp_path / "part-*.jsonl"), tmp_path / "out"), "--resume", "--on-error", "null"]
    done = subprocess.run([*resumed, "--field", "x"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--field: prediction before, x now" in done.stderr
    done = subprocess.run(resumed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 parts were answered before" in done.stderr
    assert (first.stat().st_ino, first.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    expected = tmp_path / "null.jsonl"
    assert main(["predict", str(model), *map(str, paths), "--out", str(expected), "-q", "--on-error", "null"]) == 0
    assert joined(tmp_path / "out") == expected.read_bytes()


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        (["{in}"], "takes files, and a folder"),
        (["--out", "{out}"], "takes files, and a folder"),
        (["{in}", "--out", "{out}", "--shard", "1/2"], "shares the records out by itself"),
        (["{in}", "--out", "{out}", "--overwrite"], "leave out --overwrite"),
        (["{full}", "--out", "{here}", "--resume"], "the answers need a folder of their own"),
        (["{full}", "--out", "{here}"], "the answers need a folder of their own"),
        (["{missing}*.jsonl", "--out", "{out}"], "there is no such file"),
    ],
)
def test_wrong_use_is_said_before_ray_starts(
    model: Path, tmp_path: Path, options: list[str], fact: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = records(tmp_path, 1)[0]
    names = {"in": path, "out": tmp_path / "new", "full": path, "here": tmp_path, "missing": tmp_path / "none"}
    arguments = [option.format(**names) for option in options]
    assert main(["predict", str(model), *arguments, "--engine", "ray"]) in (2, 3)
    assert fact in capsys.readouterr().err
