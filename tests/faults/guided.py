"""Files that atheris finds: bytes that make a reader take another way through its code, from right files on.

    python -m tests.faults.guided READER RUNS SEED FOLDER

The first input that is read with anything but a clean error ends the process, with its bytes on stderr. What is written
stays in FOLDER: atheris ends the process by itself.
"""

from __future__ import annotations

import random
import sys
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["bertft.data", "bertft.recipe"]):
    from bertft.recipe import shipped

    from . import fuzz, judged, seeds


def main(kind: str, runs: str, seed: str, folder: str) -> None:
    """Feed a reader, or recipes, with what atheris makes of 50 right files."""
    warnings.simplefilter("error")
    running, corpus = fuzz.Campaign(Path(folder), int(seed)), Path(folder, "corpus")
    corpus.mkdir()
    for number in range(50):
        rng = random.Random(f"{seed} {kind} {number}")
        (corpus / str(number)).write_bytes(bytes([number]) + _right(kind, rng))

    def one(data: bytes) -> None:
        first, rest = (data[0], data[1:]) if data else (0, b"")
        if kind == "recipe":
            path = running.written({"r.yaml": rest}, "r.yaml")
            with judged.in_time():
                judged.read_recipe(path)
            return
        name, task = _NAMES.get(kind, "f.json"), fuzz.TASKS[first % 4]
        how = judged.Reading(task, bool(first & 4), _FORMATS.get(kind), to="jsonl" if first & 8 else None)
        path = running.written({name: rest}, name)
        with judged.in_time():
            judged.read(path, how, running.engines[task])

    arguments = [f"-runs={runs}", f"-seed={seed}", "-max_len=4096", "-verbosity=0", str(corpus)]
    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.Fuzz()


def _right(kind: str, rng: random.Random) -> bytes:
    if kind == "recipe":
        text = rng.choice([*shipped().values()])
        return "\n".join(line for line in text.splitlines() if not line.startswith("#")).encode()
    return next(iter(seeds.make(kind, rng).files.values()))


_NAMES = {
    "conll": "f.conll",
    "conllu": "f.conllu",
    "table": "f.csv",
    "jsonl": "f.jsonl",
    "doccano": "f.jsonl",
    "prodigy": "f.jsonl",
    "fasttext": "f.txt",
    "text": "f.txt",
}
_FORMATS = {"text": "text"}

if __name__ == "__main__":
    main(*sys.argv[1:])
