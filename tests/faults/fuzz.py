"""Bad input: 100,000 generated files and more over every reader, recipes and bundles.

Of each file, right, wrong or a megabyte long, only a clean error with a place may come, or the right rows; never a
traceback, never after more than 5 s, never with more than 4 GiB of addresses. Each reader is run in a process of its
own, `python -m tests.faults.fuzz READER FIRST LAST SEED`, so that a crash is counted too.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import mutations, seeds
from .seeds import READERS, Seed

FILES, QUICK_FILES = 6000, 600
GUIDED = 1000
ADDRESSES = 4 * 2**30
MEMORY = "/dev/shm"
TASKS = ("classify", "pair", "ner", "qa")
_TEXTUAL = ("conll", "csv", "tsv", "jsonl", "json", "squad", "fasttext", "text")
_CODECS = (
    *("latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "shift_jis", "gb18030", "ascii"),
    *(
        "utf-7",
        "cp500",
        "idna",
        "punycode",
        "unicode_escape",
        "iso2022_jp",
        "hz",
        "undefined",
        "rot13",
        "base64",
        "mbcs",
    ),
)
_COLUMNS = (
    "text=text",
    "text=1",
    "tokens=1",
    "tags=2",
    "tags=²",
    "label=a+b",
    "label=3",
    "text_a=1",
    "answers=text",
    "id=9",
)


def run(*, quick: bool, seed: int) -> dict[str, int | float]:
    """Run every reader's share, print what each did, and return the sums."""
    share = QUICK_FILES if quick else FILES
    kinds = {**dict.fromkeys((*READERS, "recipe"), share), "bundle": share // 2, "long": share // 20}
    totals: Counter[str] = Counter()
    for kind, files in kinds.items():
        found = _run_apart(kind, files, seed)
        print(f"  {kind:14}" + "".join(f"{key} {found[key]:,}  " for key in KEYS), flush=True)
        totals += found
    guided = _run_guided(GUIDED // 10 if quick else GUIDED, seed)
    print(f"  {'guided':14}" + "".join(f"{key} {guided[key]:,}  " for key in KEYS), flush=True)
    totals += guided
    return {key: totals[key] for key in KEYS}


KEYS = ("files", "accepted", "refused", "failures")


def _run_apart(kind: str, files: int, seed: int) -> Counter[str]:
    """Run a reader's share in processes of its own: where one dies, the file it died of is a failure."""
    counts: Counter[str] = Counter()
    first = 0
    while first < files:
        command = [sys.executable, "-m", __spec__.name, kind, str(first), str(files), str(seed)]
        process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        *progress, last = process.stdout.splitlines() or [""]
        with contextlib.suppress(ValueError):
            counts += Counter(json.loads(last))
            return counts
        done = max((int(line) for line in [*progress, last] if line.isdecimal()), default=first)
        print(f"  {kind} {done}: the process died with {process.returncode}", flush=True)
        counts += Counter(files=1 + done - first, failures=1)
        first = done + 1
    return counts


def _run_guided(runs: int, seed: int) -> Counter[str]:
    from importlib.util import find_spec

    if find_spec("atheris") is None:
        print("  atheris is not installed: no guided runs", flush=True)
        return Counter()
    counts: Counter[str] = Counter()
    for kind in (*_GUIDED, "recipe"):
        with _in_memory() as folder:
            command = [
                sys.executable,
                "-m",
                __spec__.name.replace("fuzz", "guided"),
                kind,
                str(runs),
                str(seed),
                folder,
            ]
            process = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
        if process.returncode:
            print(f"  guided {kind}: {process.stdout[-500:]}{process.stderr[-2000:]}", flush=True)
        counts += Counter(files=runs, failures=int(process.returncode != 0))
    return counts


_GUIDED = tuple(reader for reader in READERS if reader not in ("arrow", "folder", "brat", "lines"))


# -- one reader -----------------------------------------------------------------------------------------------------


class Campaign:
    """One reader's files, in a folder that is used again and again."""

    def __init__(self, folder: Path, seed: int) -> None:
        from . import judged, tokenizer

        self.folder, self.seed, self.judged = folder, seed, judged
        self.bundles = tokenizer.bundles(folder / "bundles")
        encoder = tokenizer.encoder()
        self.engines = {
            name: judged.Engine(task, encoder, judged.WindowSize(24, 6), judged.Sines(task))
            for name, task in ((name, judged.known_task(name)) for name in TASKS)
        }

    def one(self, kind: str, number: int) -> str:
        """Make file `number` of a kind and judge it; return `accepted` or `refused`, raise what is wrong with it."""
        rng = random.Random(f"{self.seed} {kind} {number}")
        match kind:
            case "recipe":
                return self._recipe(rng)
            case "bundle":
                return self._bundle(rng)
            case "long":
                return self._long(rng, number)
        seed = seeds.make(kind, rng)
        if number % 5 == 0:
            return self._right(seed, rng)
        return self._wrong(seed, kind, rng)

    def _right(self, seed: Seed, rng: random.Random) -> str:
        single = seed.name in seed.files and not seed.name.endswith((".parquet", ".arrow"))
        files = dict(seed.files)
        if single and rng.random() < 0.3:
            files[seed.name] = mutations.compressed(files[seed.name], rng)
        elif single and rng.random() < 0.2:
            codec = rng.choice(["utf-8-sig", "utf-16"])
            files[seed.name] = files[seed.name].decode().encode(codec)
        labelled = seed.format != "text"
        how = self.judged.Reading(seed.task, labelled, seed.format)
        path = self.written(files, seed.name)
        with self.judged.in_time():
            told, rows = self.judged.read(path, how, self.engines[seed.task])
        if not rows:
            raise self.judged.Wrong(f"a right file is refused: {told}")
        self.judged.check_records(rows, seed.records)
        return "accepted"

    def _wrong(self, seed: Seed, kind: str, rng: random.Random) -> str:
        files = dict(seed.files)
        name = rng.choice([*files])
        other = seeds.make(rng.choice([one for one in READERS if one != "arrow"]), rng)
        if name.endswith((".json", ".jsonl")) and rng.random() < 0.6:
            files[name] = mutations.mutated_json(files[name], rng)
        if files[name] == seed.files[name] or rng.random() < 0.2:
            files[name] = mutations.mutated(files[name], rng, rng.choice([*other.files.values()]))
        single = seed.name in files
        if single and rng.random() < 0.05:
            files[name] = mutations.compressed(files[name], rng)
            if rng.random() < 0.5:
                files[name] = mutations.mutated(files[name], rng)
        task = seed.task if rng.random() < 0.7 else rng.choice(TASKS)
        column = dict([rng.choice(_COLUMNS).split("=")]) if rng.random() < 0.05 else {}
        how = self.judged.Reading(
            task,
            rng.random() < 0.5,
            rng.choice(_TEXTUAL) if single and rng.random() < 0.15 else seed.format,
            rng.choice(_CODECS) if rng.random() < 0.05 else None,
            column,
            rng.choice([None, None, "jsonl", "csv", "tsv", "conll"]),
            rng.choice(["null", "null", "skip", "fail"]),
        )
        named = (
            seed.name if not single or rng.random() < 0.8 else rng.choice(["f", "f.txt", "f.csv", "f.json", "f.jsonl"])
        )
        if named != seed.name:
            files[named] = files.pop(seed.name)
        return self._twice(self.written(files, named), how)

    def _twice(self, path: str, how: Any) -> str:
        with self.judged.in_time():
            told, rows = self.judged.read(path, how, self.engines[how.task])
        again, _ = self.judged.read(path, how, self.engines[how.task])
        if told != again:
            raise self.judged.Wrong("read twice, the file gives two results")
        return "accepted" if rows else "refused"

    def _long(self, rng: random.Random, number: int) -> str:
        plain = mutations.plain_long()
        data = plain[number // 4][1] if number < 4 * len(plain) else mutations.long(rng)
        if number % 20 == 19:
            path = self.written({"r.yaml": data}, "r.yaml")
            with self.judged.in_time():
                self.judged.read_recipe(path)
            return "refused"
        how = self.judged.Reading(TASKS[number % 4], rng.random() < 0.5, rng.choice([None, *_TEXTUAL]))
        name = rng.choice(["f.txt", "f.csv", "f.tsv", "f.json", "f.jsonl", "f.conll"])
        path = self.written({name: data}, name)
        with self.judged.in_time():
            return "accepted" if self.judged.read_long(path, how) else "refused"

    def _recipe(self, rng: random.Random) -> str:
        from bertft.recipe import shipped

        texts = [*shipped().values()]
        data = rng.choice(texts).encode()
        data = (
            b"\n".join(line for line in data.split(b"\n") if not line.startswith(b"#")) if rng.random() < 0.8 else data
        )
        data += b"".join(rng.choice(_RECIPE_LINES) + b"\n" for _ in range(rng.choice([0, 0, 1, 2, 4])))
        if rng.random() < 0.8:
            data = mutations.mutated(data, rng, rng.choice(texts).encode())
        path = self.written({"r.yaml": data}, "r.yaml")
        overrides = [rng.choice(_OVERRIDES) for _ in range(rng.choice([0, 0, 0, 1, 2]))]
        with self.judged.in_time():
            told = self.judged.read_recipe(path, overrides)
        return "accepted" if told.startswith("task:") else "refused"

    def _bundle(self, rng: random.Random) -> str:
        directory = rng.choice(self.bundles)
        name = rng.choice(["bertft.json", "bertft.json", "bertft.json", "tokenizer.json"])
        data = (directory / name).read_bytes()
        changed = mutations.mutated_json(data, rng) if rng.random() < 0.7 else mutations.mutated(data, rng)
        files = {f"m/{file.name}": file.read_bytes() for file in directory.iterdir() if file.name != name}
        path = self.written({**files, f"m/{name}": changed}, "m")
        with self.judged.in_time():
            told = self.judged.read_bundle(path, rng)
        return "accepted" if told.startswith("[") else "refused"

    def written(self, files: dict[str, bytes], name: str) -> str:
        place = self.folder / "files"
        shutil.rmtree(place, ignore_errors=True)
        for file, data in files.items():
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            (place / file).write_bytes(data)
        return str(place / name)


_RECIPE_LINES = (
    *(b"seed: 9", b"seed: 1e400", b"seed: 0x" + b"f" * 5000, b"seed: -1", b"holdout: .nan", b"holdout: 1" + b"0" * 400),
    *(
        b"early_stopping: 1" + b"0" * 400,
        b"batch_tokens: .inf",
        b"metrics: [1, a]",
        b"metrics: {a: b}",
        b"columns: {1: 2}",
    ),
    *(
        b"columns: [a]",
        b"options: {window: x}",
        b"options: []",
        b"trainer: {learning_rate: abc}",
        b"? [a]\n: b",
        b"a: &x b",
    ),
    *(
        b"b: *x",
        b"!!python/object:os.system x",
        b"c: !!timestamp z",
        b"<<: {a: b}",
        b"task: [ner]",
        b"task: 1",
        b"model: 7",
    ),
    *(b"encoding: 3", b"x: " + b"[" * 500, b"trainer:\n  ? a\n  : b", b"trainer: {max_steps: 1" + b"0" * 5000 + b"}"),
)
_OVERRIDES = (
    *(
        "seed=9",
        "seed=1e999",
        "seed=" + "9" * 5000,
        "trainer.learning_rate=5e-5",
        "trainer=x",
        "options=[",
        "options={a: b}",
    ),
    *("task=qa", "=", "a", "metrics=[a, b]", "metrics=" + "[" * 2000, "columns={a: b}", "options.window=²", "task.x=1"),
    *("trainer.eval_strategy=no", "holdout=0.5", "batch_tokens=0x" + "f" * 5000, "columns=!!timestamp x", "metrics=*a"),
)


@contextlib.contextmanager
def campaign(seed: int) -> Iterator[Campaign]:
    """Give a campaign whose files are in memory where the machine has such a place."""
    with _in_memory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        yield Campaign(Path(folder), seed)


def _in_memory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="bertft-fuzz-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None)


def main(kind: str, first: int, last: int, seed: int, tell: Callable[[str], None] = print) -> Counter[str]:
    """Judge files `first` to `last` of a kind; return the counts, and keep every file that fails."""
    counts = Counter(files=0, accepted=0, refused=0, failures=0)
    with campaign(seed) as running:
        for number in range(first, last):
            if number % 10 == 0 or kind == "arrow":
                tell(str(number))
            counts["files"] += 1
            try:
                counts[running.one(kind, number)] += 1
            except Exception:
                counts["failures"] += 1
                if counts["failures"] <= 40:
                    where = Path(tempfile.gettempdir()) / f"bertft-fuzz-{kind}-{number}"
                    shutil.copytree(running.folder / "files", where, dirs_exist_ok=True)
                    print(f"{kind} {number} in {where}\n{traceback.format_exc()}", file=sys.stderr, flush=True)
    return counts


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    reader, *numbers = sys.argv[1:]
    print(json.dumps(main(reader, *map(int, numbers), tell=lambda line: print(line, flush=True))))
