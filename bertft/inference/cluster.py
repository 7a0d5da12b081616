"""`predict --engine ray`: files shared out in parts over the workers of a Ray cluster, or of this machine.

A part is some records of one file. A worker answers it with the same code as `predict` and writes it to a file of its
own, which gets its name when it is whole: a part whose worker was killed is answered again, and no record is lost or
stands twice. Sorted by name, the files joined are what `predict` writes: only the first has a table's header.

Until all parts are there, `OUT/.run.json` says which run they are of and which they are: `--resume` answers the rest.
"""

from __future__ import annotations

import glob
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bertft.bundle.store import Bundle
from bertft.console import QUIET, say, set_level, warn
from bertft.errors import BertftError, DataError, OutputError, UsageError, first_line
from bertft.inference.engine import Engine
from bertft.inference.identity import check_same, identity
from bertft.inference.output import Answers, open_out
from bertft.inference.predict import Options, Shard, answer_all, header_of
from bertft.inference.writers import default_target, parse_target
from bertft.signals import Interrupted

_PARTS_PER_WORKER = 4
"""At least, where there are fewer files: a worker that is slow or killed holds the others up for less."""
_NOTE = ".run.json"
_COUNTED = ("answered", "failed", "offered", "withheld")
_LEAST_BYTES = 2**20
"""Of a part: each costs a reading of its file."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some records of a file, from `start` up to `stop`, and where their answers go."""

    path: str
    start: int
    stop: int | None
    """None: to the end."""
    headed: bool
    """Whether a table's header is written: once, as the files are to be joined."""
    out: str


class Worker:
    """A process that holds the model and answers parts; Ray makes it, and makes it anew where it is killed."""

    def __init__(self, model: str, options: Options) -> None:
        set_level(QUIET)
        self._options = options
        self._bundle: Bundle | None = None
        self._engine: Engine | None = None
        self._model = model

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Answer the parts of a batch; return how many records were answered, failed, and what went wrong."""
        done = []
        for part in batch["part"]:
            try:
                done.append({**self._answer(Part(**part)), "error": ""})
            except BertftError as error:  # would be tried again as it is
                done.append({**dict.fromkeys(_COUNTED, 0), "error": str(error)})
        return {key: [one[key] for one in done] for key in (*_COUNTED, "error")}

    def _answer(self, part: Part) -> dict[str, Any]:
        if self._bundle is None or self._engine is None:
            self._bundle = self._options.bundle(self._model)
            self._engine = self._options.load(self._bundle)
        with open_out(part.out, overwrite=True) as stream:
            if isinstance(stream, Answers):
                stream.begin(None)
            answers = answer_all(
                self._bundle,
                self._engine,
                [part.path],
                out=stream,
                options=self._options,
                bounds=[(part.start, part.stop)],
                headed=part.headed,
            )
        return {name: getattr(answers, name) for name in _COUNTED}


def predict_on_ray(
    model: str,
    inputs: Sequence[str],
    *,
    out: str,
    options: Options,
    workers: int | None = None,
    resume: bool = False,
    again: str | None = None,
) -> None:
    """Answer every record of the files (directories and patterns stand for the files in them) into the folder `out`.

    `workers` are as many as the cluster has GPUs, or CPUs, if they are not given. `resume` answers the parts that an
    interrupted run has left; `again` is the command that does. Raises UsageError where Ray is not installed, DataError
    for an input that is not there, or the first error of a part; the other parts are kept.
    """
    paths = [path for name in inputs for path in files_of(name)]
    folder, note = Path(out), Path(out) / _NOTE
    unfinished = note.is_file()
    if folder.exists() and not (resume and unfinished) and (not folder.is_dir() or any(folder.iterdir())):
        advice = (
            "`--resume` answers the parts that are missing" if unfinished else "name one that is empty, or not there"
        )
        raise UsageError("the answers need a folder of their own", place=out, help=advice)
    bundle = options.bundle(model)  # what is wrong with it is said before Ray starts
    asked = {"--device": options.device, "--backend": options.backend, "--precision": options.precision}
    run = identity(bundle, paths, {**options.recorded(), **asked, "--batch-tokens": options.batch_tokens})
    before = _begun(note, run) if resume and unfinished else None
    kinds = {default_target(options.open(bundle, path).format): path for path in paths}
    if (to := parse_target(options.to)) is None and len(kinds) > 1:
        fact = f"{' and '.join(kinds.values())} would be answered in {len(kinds)} formats"
        raise UsageError(fact, help="`--to jsonl` takes one")
    headers = {path: header for path in paths if (header := header_of(bundle, path, options).strip())}
    if other := next((path for path, header in headers.items() if header != next(iter(headers.values()))), None):
        raise UsageError(f"{other} has other columns than the input before it", help="`--to jsonl` takes any")
    ray = _ray()
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0)) if options.device in ("auto", "cuda") else 0
    workers = workers or gpus or max(1, int(resources.get("CPU", 1)))
    parts = before or _parts(
        paths, folder, workers, to or next(iter(kinds)), lambda path: sum(1 for _ in options.open(bundle, path).rows)
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if before is None:
            note.write_text(json.dumps({"run": run, "parts": [asdict(part) for part in parts]}), encoding="utf-8")
    except OSError as error:
        raise OutputError.of(error, out) from error
    say(f"ray: {len(paths):,} files in {len(parts):,} parts, {workers} workers")
    rows = [{"part": asdict(part)} for part in parts if not os.path.exists(part.out)]
    if resume:
        say(f"{len(parts) - len(rows):,} parts were answered before" if before else "nothing to resume: this starts")
    if not rows:
        note.unlink()
        return
    location = os.path.abspath(model) if os.path.isdir(model) else model
    try:
        done = (
            ray.data.from_items(rows, override_num_blocks=len(rows))
            .map_batches(
                Worker,
                fn_constructor_args=(location, options),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows))),
                num_cpus=1,
                num_gpus=1 if gpus else None,
            )
            .take_all()
        )
    except ray.exceptions.RayError as error:
        advice = f"the parts that are done are in {out}; with `--resume` the others are answered{_command(again)}"
        raise DataError(f"ray could not finish: {first_line(error)}", help=advice) from error
    except (KeyboardInterrupt, Interrupted):
        warn(f"the parts that are done are in {out}; with `--resume` the others are answered{_command(again)}")
        raise
    wrong = [row["error"] for row in done if row["error"]]
    if wrong:
        fact = f"{wrong[0]}\n{len(wrong):,} of {len(done):,} parts failed; the others are in {out}"
        raise DataError(fact, help=f"with `--resume` they are tried again{_command(again)}")
    note.unlink()
    answered, failed, offered, withheld = (sum(row[key] for row in done) for key in _COUNTED)
    say(f"{answered:,} records answered, {failed:,} bad, in {len(done):,} files in {out}")
    if options.min_score is not None:
        say(f"{withheld:,} of {offered:,} answers withheld: --min-score {options.min_score:g}")


def _command(again: str | None) -> str:
    return f": {again}" if again else ""


def _begun(note: Path, run: Mapping[str, Any] | None) -> list[Part] | None:
    """Return the parts of the run that is to be resumed; raises UsageError where it is another one than `run`."""
    try:
        stored = json.loads(note.read_text(encoding="utf-8"))
        parts, before = [Part(**part) for part in stored["parts"]], dict(stored["run"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(
            "what was written down of the run is damaged", place=note, help="name another folder"
        ) from None
    # a part that is whole without regard to bad records had none
    free = ("--on-error",) if before.get("--on-error") == "fail" else ()
    check_same(before, run or {}, place=str(note.parent), free=free)
    return parts


def files_of(name: str) -> list[str]:
    """Return the files that an input stands for, in order; raises DataError where there is none."""
    if os.path.isdir(name):
        found = sorted(str(path) for path in Path(name).iterdir() if path.is_file() and path.name[0] not in "._")
    else:
        found = [name] if os.path.isfile(name) else sorted(path for path in glob.glob(name) if os.path.isfile(path))
    if not found:
        raise DataError("there is no such file", place=name)
    return found


def _parts(
    paths: Sequence[str], folder: Path, workers: int, ending: str, count_rows: Callable[[str], int]
) -> list[Part]:
    """Return the parts of all files: larger files are cut into more, which takes counting their records."""
    sizes = [max(1, os.path.getsize(path)) for path in paths]
    share = max(_LEAST_BYTES, sum(sizes) // (workers * _PARTS_PER_WORKER))
    parts: list[Part] = []
    digits = len(str(len(paths)))
    for number, (path, size) in enumerate(zip(paths, sizes, strict=True)):
        count = -(-size // share)
        bounds: list[tuple[int, int | None]] = [(0, None)]
        if count > 1:
            bounds = [Shard(index, count).bounds([count_rows(path)])[0] for index in range(1, count + 1)]
        for index, (start, stop) in enumerate(bounds, 1):
            stem = f"{number:0{digits}}-{Path(path).name.partition('.')[0]}-{index:0{len(str(count))}}-of-{count}"
            out = str(folder.resolve() / f"{stem}.{ending}")
            parts.append(Part(os.path.abspath(path), start, stop, not parts, out))
    return parts


def _ray() -> Any:
    """Return the ray module, connected: to the cluster of RAY_ADDRESS, or to one of this machine alone."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UsageError("--engine ray: Ray is not installed", help="`pip install 'bertft[ray]'`") from error
    if not ray.is_initialized():
        dashboard = None if "RAY_ADDRESS" in os.environ else False
        ray.init(logging_level=logging.ERROR, log_to_driver=False, include_dashboard=dashboard)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.verbose_progress = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray
