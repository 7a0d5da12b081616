"""bertft and its peers side by side: training, prediction, answers to questions, start-up, memory, export.

    python -m tests.bench                      # some 40 minutes on two cores
    python -m tests.bench --quick --json       # within 5 minutes: one repetition of less of everything
    python -m tests.bench --only train
    python -m tests.bench --only base          # BERT-base, on a GPU if there is one; a few rows on a CPU

The peers are a plain `Trainer` at the defaults of transformers' example scripts (`plain_*.py`), `pipeline()`, and for
questions a plain loop with the examples' algorithm (`peers.py`). Every run is a process of its own, the two sides of a
ratio take turns, and medians are printed. Ratios are bertft's rows a second over the peer's (in training tokens without
padding), so more is better.

Training figures are also given as a share of what the machine's matrix products reach: a token of training costs 6
floating-point operations a weight of a linear layer, and 12 a layer, unit of width and token of its window for
attention (Kaplan et al. 2020, "Scaling Laws", table 1: forward times three). Padding is not counted, so it is waste.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.data_sets import SETS, written
from tests.bench.scores import location

DATA = Path(__file__).parents[3] / "shared" / "data"
WORKLOADS = ("train", "predict", "answers", "start", "memory")
"""What is run where nothing is asked for."""


@dataclass
class Bench:
    """What is measured with, and the ratios so far."""

    scratch: Path
    repeats: int
    quick: bool
    model: str
    ratios: dict[str, float] = field(default_factory=dict)
    peak: dict[str, float] = field(default_factory=dict)

    def run(self, *command: str) -> dict[str, float]:
        """Run a program of this folder that writes its figures to the file that is its first argument."""
        stats = self.scratch / "stats.json"
        stats.unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", command[0], str(stats), *command[1:]], capture_output=True, text=True, check=False
        )
        if not stats.exists():
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        found: dict[str, float] = json.loads(stats.read_text())
        return found

    def sides(self, **commands: Sequence[str]) -> dict[str, dict[str, float]]:
        """Run all commands in turns and return the median of each figure of each."""
        seen: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
        for _ in range(self.repeats):
            for name, command in commands.items():
                seen[name].append(self.run(*command))
        return {
            name: {key: statistics.median(one[key] for one in runs) for key in runs[0]} for name, runs in seen.items()
        }

    def ratio(self, name: str, own: float, peer: float) -> None:
        """Keep and print a ratio."""
        self.ratios[name] = round(own / peer, 3)
        print(f"  {name:36} {own / peer:6.2f}", flush=True)


def machine() -> str:
    """Return what this runs on."""
    import torch
    import transformers

    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        name = next(line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor()
    able = [key for key in ("avx2", "avx512", "avx512_bf16", "amx_bf16") if torch.cpu.get_capabilities().get(key)]
    if torch.cuda.is_available():
        able.append(torch.cuda.get_device_name())
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}"
    return f"{name}, {os.cpu_count()} cores, {' '.join(able)}; {versions}"


def matmul_peak(seconds: float) -> dict[str, float]:
    """Return the most GFLOP/s that matrix products reached, by dtype, over the shapes of encoders; of a GPU if any."""
    import torch

    shapes = [(2048, 2048, 2048), (1024, 384, 1536), (1024, 1536, 384), (4096, 768, 3072)]
    device, times, wait = "cpu", 1, lambda: None
    if torch.cuda.is_available():
        shapes += [(16384, 768, 3072), (16384, 3072, 768), (8192, 8192, 8192)]
        device, times, wait = "cuda", 20, torch.cuda.synchronize
    peak = {}
    for dtype in (torch.float32, torch.bfloat16):
        best = 0.0
        for rows, inner, columns in shapes:
            a = torch.randn(rows, inner, device=device, dtype=dtype)
            b = torch.randn(columns, inner, device=device, dtype=dtype)
            torch.nn.functional.linear(a, b)
            wait()
            end = time.perf_counter() + seconds
            while (started := time.perf_counter()) < end:
                for _ in range(times):
                    torch.nn.functional.linear(a, b)
                wait()
                best = max(best, times * 2 * rows * inner * columns / (time.perf_counter() - started) / 1e9)
        peak[str(dtype).removeprefix("torch.")] = best
    return peak


def training_flops(directory: str, length: float) -> float:
    """Return the floating-point operations of training on one token of a window of `length` tokens; see the module."""
    config = json.loads((Path(directory) / "config.json").read_text(encoding="utf-8"))
    width, inner, layers = (config[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    weights = layers * (4 * width * width + 2 * width * inner)
    return float(6 * weights + 12 * layers * width * length)


# -- training ----------------------------------------------------------------------------------------------------------


def training(bench: Bench) -> None:
    """Compare training throughput on the issue's workloads, at the examples' defaults and with dynamic padding."""
    print("\ntraining, examples a second (tokens a second without padding; share of the matmul peak of its precision);")
    print("bertft with the batches of a large set, 1,024 tokens (of questions 8 windows)")
    for name, source, rows, peers in (
        ("ner", "bc5cdr-iob2", (320, 1280), {"": (), "_bf16": ("--bf16",)}),
        ("ner_wnut17", "wnut17", (320, 1280), {"": ()}),
        ("sst2", "sst2", (160, 2560), {"": ("--pad-to", "128"), "_dynamic": ()}),
        ("mnli", "mnli-subset", (160, 1280), {"": ("--pad-to", "128"), "_dynamic": ()}),
        ("qa", "squadshifts", (48, 160), {"": ("--pad-to", "384"), "_dynamic": ()}),
    ):
        chosen = SETS[source]
        some = 2 if bench.quick else 4  # fewer rows for the slower side: what is compared is rows a second
        folder = bench.scratch / name
        folder.mkdir()
        files = chosen.files(DATA / source, folder)
        slow, fast = (cut(files[0], folder / f"{size}{files[0].suffix}", size * some // 4) for size in rows)
        dev = cut(files[1], folder / f"dev{files[1].suffix}", 8)
        own = ("tests.bench.timed", "bertft", "train", chosen.recipe, *chosen.options)
        data = ("--data", str(fast), "--dev", str(dev))
        settings = ("num_train_epochs=1", "eval_strategy=no", "save_strategy=no")
        options = [f"--set=trainer.{setting}" for setting in settings]
        plain = ("tests.bench.timed", chosen.loop[0], str(slow), str(dev), *chosen.loop[1:])
        arguments = ("--model", location(bench.model), "--epochs", "1")
        # batches as large as the whole set would have
        size = ("--set=batch_tokens=1024",) if name != "qa" else ()
        found = bench.sides(
            bertft=(*own, *data, "--model", bench.model, "--out", str(folder / "out"), "--overwrite", *options, *size),
            **{f"plain{kind}": (*plain, *arguments, *more) for kind, more in peers.items()},
        )
        show(bench, name, found, location(bench.model))


def show(bench: Bench, name: str, found: dict[str, dict[str, float]], model: str) -> None:
    """Print what each side of a training reached, and keep the ratios of `bertft` to the others."""
    for side, figures in found.items():
        tokens = figures["tokens_per_second"]
        length = figures["tokens_per_second"] / figures["examples_per_second"]
        # bertft takes bf16 where the machine has it
        bf16 = side.endswith("bf16") or (side == "bertft" and bench.peak["bfloat16"] > bench.peak["float32"])
        peak = bench.peak["bfloat16" if bf16 else "float32"]
        share = tokens * training_flops(model, length) / peak / 1e9
        print(
            f"  {name:12} {side:14} {figures['examples_per_second']:8.1f} ({tokens:7,.0f}; {share:4.0%})  "
            f"padding {figures['padding']:4.0%}  {figures['peak_mb']:6,.0f} MB",
            flush=True,
        )
        if side != "bertft":
            # tokens, as the rows of the two sides are not the same ones
            kind = side.removeprefix("plain")
            bench.ratio(f"train_{name}_ratio{kind}", found["bertft"]["tokens_per_second"], tokens)
    bench.ratios[f"train_{name}_padding"] = round(found["bertft"]["padding"], 4)


def base(bench: Bench) -> None:
    """Compare training of BERT-base with random weights on texts of mixed lengths, on a GPU in bf16."""
    import numpy as np
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    gpu = torch.cuda.is_available()
    folder = bench.scratch / "base"
    model = folder / "model"
    BertModel(BertConfig()).save_pretrained(model)
    AutoTokenizer.from_pretrained(location("embedded")).save_pretrained(model)  # BERT's own vocabulary
    articles = json.loads((DATA / "squad2-cs224n" / "dev-v2.0.json").read_text(encoding="utf-8"))["data"]
    words = " ".join(p["context"] for article in articles for p in article["paragraphs"]).replace('"', " ").split()
    kind, many = ("_bf16", 64) if gpu else ("", 16)
    print(f"\ntraining of BERT-base on texts of mixed lengths, as above; the peer at 8 rows a batch, and at {many}")
    for longest in (128, 384):
        random = np.random.default_rng(longest)
        rows = (8192 if longest == 128 else 4096) if gpu else 12
        lines = ["text,label"]
        for i in range(rows):  # up to about the longest: a word is some 1.3 tokens
            at, size = random.integers(len(words) - longest), random.integers(4, int(longest / 1.3))
            lines.append(f'"{" ".join(words[at : at + size])}",{"ab"[i % 2]}')
        data = written(folder / f"{longest}.csv", "\n".join(lines) + "\n")
        dev = written(folder / f"dev{longest}.csv", "\n".join(lines[:9]) + "\n")
        settings = ("num_train_epochs=1", "eval_strategy=no", "save_strategy=no", f"bf16={str(gpu).lower()}")
        own = ("tests.bench.timed", "bertft", "train", "classify", "--data", str(data), "--dev", str(dev))
        own += ("--model", str(model), "--out", str(folder / "out"), "--overwrite", f"--set=options.window={longest}")
        own += (f"--set=batch_tokens={16384 if gpu else 1024}", *(f"--set=trainer.{setting}" for setting in settings))
        plain = ("tests.bench.timed", "tests.bench.plain_text", str(data), str(dev), "--text=text", "--label=label")
        plain += ("--model", str(model), "--epochs", "1", "--max-length", str(longest))
        plain += ("--bf16",) if gpu else ()
        peers = {f"plain_{size}{kind}": (*plain, "--batch", str(size)) for size in (8, many)}
        found = bench.sides(bertft=own, **peers)
        show(bench, f"base_{longest}", found, str(model))


def cut(source: Path, target: Path, rows: int) -> Path:
    """Write the first rows of a labelled file."""
    text = source.read_text(encoding="utf-8")
    if source.suffix == ".json" and '"paragraphs"' in text:
        paragraphs, left = [], rows
        for article in json.loads(text)["data"]:
            for paragraph in article["paragraphs"]:
                asked = paragraph["qas"][:left]
                left -= len(asked)
                if asked:
                    paragraphs.append({"context": paragraph["context"], "qas": asked})
        return written(target, json.dumps({"data": [{"title": "some", "paragraphs": paragraphs}]}))
    if source.suffix == ".json":
        return written(target, json.dumps(dict(list(json.loads(text).items())[:rows])))
    if "\n\n" in text.replace("\r", ""):
        sentences = text.replace("\r", "").split("\n\n")[:rows]
        return written(target, "\n\n".join(sentences) + "\n")
    return written(target, "".join(text.splitlines(keepends=True)[: rows + 1]))


# -- prediction --------------------------------------------------------------------------------------------------------


def prediction(bench: Bench) -> None:
    """Compare prediction throughput with torch and exported, against `pipeline()` and a plain loop for questions."""
    print("\nprediction, rows a second")
    for name, source, task, kind in (
        ("ner", "bc5cdr-iob2", "token-classification", texts_of_words),
        ("classify", "sst2", "text-classification", first_field),
        ("qa", "squadshifts", "question-answering", None),
    ):
        if bench.quick and name == "classify":
            continue
        chosen = SETS[source]
        folder = bench.scratch / f"predict-{name}"
        folder.mkdir()
        files = chosen.files(DATA / source, folder)
        model = trained(bench, chosen.recipe, chosen.options, files, folder)
        shell("bertft", "export", str(model), "-q")
        few, many = (60, 600) if bench.quick else (200, 2400)
        if kind is None:
            few, many = few // 4, many // 8
            peer = data = cut(files[1], folder / "many.json", many)
            few = many // 3
        else:
            lines = kind(files[1])
            data = written(folder / "many.txt", "".join(f"{line}\n" for line in lines[:many]))
            # of the same lengths: every n-th of them
            step = many // (3 * few)
            peer = written(folder / "few.txt", "".join(f"{line}\n" for line in lines[:many:step]))
        batches = {"default": 1} | {f"batch {size}": size for size in ((8, 32) if not bench.quick else (16,))}
        sides: dict[str, Sequence[str]] = {}
        base = ("tests.bench.peers", task, "--model", str(model), "--data", str(peer))
        for label, size in batches.items():
            sides[f"peer {label}"] = (*base, "--rows", str(few if size == 1 else 3 * few), "--batch", str(size))
        best = 16 if bench.quick else 32
        sides["peer bf16"] = (*base, "--rows", str(3 * few), "--batch", str(best), "--bf16")
        own = ("tests.bench.own", str(model), str(data), "--out", str(folder / "answers.jsonl"))
        sides["torch fp32"] = (*own, "--backend", "torch", "--precision", "fp32")
        sides["torch"] = (*own, "--backend", "torch")
        sides["export fp32"] = (*own, "--precision", "fp32")
        sides["export"] = own
        found = {side: figures["rows_per_second"] for side, figures in bench.sides(**sides).items()}
        for side, speed in found.items():
            print(f"  {name:12} {side:14} {speed:8.1f}", flush=True)
        top = max(speed for side, speed in found.items() if side.startswith("peer") and "bf16" not in side)
        for label, side in (("", "torch"), ("_export", "export")):
            bench.ratio(f"predict_{name}{label}_ratio_default", found[side], found["peer default"])
            bench.ratio(f"predict_{name}{label}_ratio_best", found[side], top)
            bench.ratio(f"predict_{name}{label}_ratio_best_fp32", found[f"{side} fp32"], top)
        bench.ratio(f"predict_{name}_ratio_best_bf16", found["torch"], found["peer bf16"])
        agreement(bench, name, model, data, folder)
        if name == "ner":
            int8(bench, model, files, data, folder, found["export"])


def trained(bench: Bench, recipe: str, options: Sequence[str], files: Sequence[Path], folder: Path) -> Path:
    """Train a model for a minute or so: what is predicted should be what a model predicts, not noise."""
    rows = 600 if bench.quick else 3000
    if recipe.startswith("qa"):
        rows //= 10
    train = cut(files[0], folder / f"train{files[0].suffix}", rows)
    dev = cut(files[1], folder / f"dev{files[1].suffix}", 200)
    out = folder / "model"
    command = ["bertft", "train", recipe, *options, "--data", str(train), "--dev", str(dev), "--model", bench.model]
    shell(*command, "--set", "trainer.num_train_epochs=1", "--out", str(out), "-q")
    return out


def shell(*command: str) -> str:
    """Run a command of this environment and return what it prints."""
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def texts_of_words(path: Path) -> list[str]:
    """Return the sentences of a column file as texts."""
    from tests.bench.plain_trainer import read

    return [" ".join(words) for words, _ in read(str(path))]


def first_field(path: Path) -> list[str]:
    """Return the first column of a table with a header."""
    return [line.partition("\t")[0] for line in path.read_text(encoding="utf-8").splitlines()[1:]]


def agreement(bench: Bench, name: str, model: Path, data: Path, folder: Path) -> None:
    """Say how many labels, of words or of rows, each way of running has as torch has them in fp32."""
    told: dict[str, list[Any]] = {}
    ways = {
        "fp32": ("--backend", "torch", "--precision", "fp32"),
        "torch": ("--backend", "torch"),
        "export_fp32": ("--precision", "fp32"),
        "export": (),
    }
    for way, options in ways.items():
        out = folder / f"{way}.jsonl"
        command = ("bertft", "predict", str(model), str(data), "--to", "jsonl", "--scores", "--out", str(out), "-q")
        shell(*command, *options)
        answers = [json.loads(line)["prediction"] for line in out.read_text(encoding="utf-8").splitlines()]
        told[way] = [label for answer in answers for label in labels(answer)]
    for way in list(ways)[1:]:
        same = [a == b for a, b in zip(told["fp32"], told[way], strict=True)]
        bench.ratios[f"same_{name}_{way}"] = round(sum(same) / len(same), 5)
        print(f"  {name:12} {way:14} labels as torch in fp32: {sum(same):,} of {len(same):,}", flush=True)


def labels(prediction: dict[str, Any]) -> list[Any]:
    """Return what a prediction says: of entities the label and the begin of each word's, else one label or answer."""
    if "entities" not in prediction:
        return [prediction.get("label", prediction.get("answer"))]
    of_word = {tuple(span): ("", 0) for span in prediction["offsets"]}
    for entity in prediction["entities"]:
        for start, end in of_word:
            if entity["start"] <= start and end <= entity["end"]:
                of_word[start, end] = (entity["label"], entity["start"])
    return list(of_word.values())


def int8(bench: Bench, model: Path, files: Sequence[Path], data: Path, folder: Path, speed: float) -> None:
    """Export in int8, gated by the task's metric, and compare its speed and score with the export before."""
    dev = str(folder / f"dev{files[1].suffix}")
    before = json.loads(shell("bertft", "eval", str(model), "--data", dev, "--json", "-q"))
    command = [sys.executable, "-m", "bertft", "export", str(model), "--int8", "--data", dev, "--overwrite"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"  int8: {done.stderr.strip().splitlines()[-1] if done.stderr else done.returncode}")
        return
    after = json.loads(shell("bertft", "eval", str(model), "--data", dev, "--json", "-q"))
    found = bench.sides(int8=("tests.bench.own", str(model), str(data), "--out", str(folder / "int8.jsonl")))
    bench.ratio("predict_ner_int8_over_export", found["int8"]["rows_per_second"], speed)
    bench.ratios["int8_ner_drop"] = round(before["f1"] - after["f1"], 5)
    print(f"  int8 F1 {100 * after['f1']:.2f}, before {100 * before['f1']:.2f}")


# -- answers to questions ----------------------------------------------------------------------------------------------


def answers(bench: Bench) -> None:
    """Compare the work behind the model on SQuAD 2.0 dev: logits in, answers out. The logits are a made-up model's."""
    import numpy as np
    from datasets import Dataset

    from bertft.encoders import load
    from bertft.inference.engine import BATCH_TOKENS
    from bertft.inference.evaluate import read_labelled
    from bertft.tasks import task_class
    from bertft.tasks.base import WindowSize
    from tests.bench.peers import example_answers

    task: Any = task_class("qa").restore({}, {"null": True})
    limit = 500 if bench.quick else None
    examples = read_labelled(task, str(DATA / "squad2-cs224n" / "dev-v2.0.json"), use="dev", limit=limit).examples
    checkpoint = load.resolve("embedded")
    tokenizer = load.load_tokenizer(checkpoint, load.load_config(checkpoint), presplit=False)
    windows, _ = task.features(examples, tokenizer.subwords, WindowSize(384, 128))
    random = np.random.default_rng(0)
    logits = []
    for window in windows:
        # as of a trained model: noise, a peak around the answer or around another place, and one at [CLS]
        count = len(window.input_ids)
        place = window.target[0] or int(random.integers(window.owned[0], window.owned[-1] + 1))
        near = 6 * np.exp(-np.abs(np.arange(count) - place) / 4)[:, None]
        scores = random.normal(-4, 1.5, (count, 2)) + near
        scores[0] = random.normal(1, 3)
        logits.append(scores.astype(np.float32))
    features = []
    for window in windows:
        offsets: list[tuple[int, int] | None] = [None] * len(window.input_ids)
        spans = np.asarray(window.spans).reshape(-1, 2).tolist()
        for token, (start, end) in zip(window.owned, spans, strict=True):
            offsets[token] = (start, end) if start >= 0 and end >= 0 else None
        inside = {"input_ids": window.input_ids, "attention_mask": [1] * len(offsets), "offset_mapping": offsets}
        features.append({**inside, "example_id": str(window.example)})
    ways = {"example, on lists": features, "example": Dataset.from_list(features)}  # which is what run_qa.py has
    sides: dict[str, list[float]] = {side: [] for side in ("bertft", *ways)}
    gc.freeze()  # what both sides are given is not to be searched for garbage while either is timed
    for _ in range(max(2, bench.repeats)):
        started = time.perf_counter()
        by_example: list[list[Any]] = [[] for _ in examples]
        order = np.argsort([-len(window.input_ids) for window in windows], kind="stable").tolist()
        while order:  # the batches of a GPU, as the engine makes them
            size = BATCH_TOKENS["cuda"] // len(windows[order[0]].input_ids)
            some = [windows[i] for i in order[:size]]
            summaries = task.reduce(some, [logits[i] for i in order[:size]])
            for window, summary in zip(some, summaries, strict=True):
                by_example[window.example].append(summary)
            del order[:size]
        replies = [task.decode(example, parts) for example, parts in zip(examples, by_example, strict=True)]
        pairs = zip(examples, replies, strict=True)
        own = [task.render(example, reply, scores=False)["answer"] or "" for example, reply in pairs]
        sides["bertft"].append(time.perf_counter() - started)
        for side, rows in ways.items():
            started = time.perf_counter()
            theirs = example_answers(
                [example.question for example in examples],
                [example.context for example in examples],
                [window.example for window in windows],
                rows,
                [scores[:, 0] for scores in logits],
                [scores[:, 1] for scores in logits],
            )
            sides[side].append(time.perf_counter() - started)
    print("\nSQuAD 2.0 dev, from logits to answers, microseconds a question")
    for side, seconds in sides.items():
        print(f"  {side:18} {1e6 * statistics.median(seconds) / len(examples):8.1f}")
    for side, name in (("example", "qa_answers_ratio"), ("example, on lists", "qa_answers_ratio_lists")):
        bench.ratio(name, statistics.median(sides[side]), statistics.median(sides["bertft"]))
    bench.ratios["qa_answers_same"] = round(sum(a == b for a, b in zip(own, theirs, strict=True)) / len(own), 5)
    print(f"  the same answers: {bench.ratios['qa_answers_same']:.2%}")


# -- start-up and memory -----------------------------------------------------------------------------------------------


def start(bench: Bench) -> None:
    """Time commands from the shell's point of view, from a warm disk."""
    print("\nseconds from the command to its end, the best of some")
    model = model_for(bench)
    times = 3 if bench.quick else 5
    line = b"Selegiline-induced postural hypotension in Parkinson's disease.\n"
    program = str(Path(sys.executable).with_name("bertft"))
    pipe = f"from transformers import pipeline; print(pipeline('token-classification', {str(model)!r})('Selegiline'))"
    commands: dict[str, tuple[list[str], bytes]] = {
        "help": ([program, "--help"], b""),
        "wrong flag": ([program, "train", "ner", "--dta", "x"], b""),
        "wrong recipe key": ([program, "train", "ner", "--data", "x", "--set", "trainer.learnig_rate=1"], b""),
        "wrong path": ([program, "predict", "no-such-model", "no-such-file"], b""),
        "predict exported": ([program, "predict", str(model)], line),
        "predict torch": ([program, "predict", str(model), "--backend", "torch"], line),
        "pipeline": ([sys.executable, "-c", pipe], b""),
    }
    best: dict[str, float] = {}
    for name, (command, text) in commands.items():
        for _ in range(times):
            started = time.perf_counter()
            subprocess.run(command, input=text, capture_output=True, check=False)
            best[name] = min(best.get(name, 1e9), time.perf_counter() - started)
        print(f"  {name:20} {best[name]:6.2f}", flush=True)
    for name, seconds in best.items():
        bench.ratios[f"seconds_{name.replace(' ', '_')}"] = round(seconds, 3)


def model_for(bench: Bench) -> Path:
    """Return an exported tagger, that of the prediction part where it has run."""
    folder = bench.scratch / "predict-ner"
    if not (folder / "model").exists():
        folder.mkdir()
        chosen = SETS["bc5cdr-iob2"]
        trained(bench, chosen.recipe, chosen.options, chosen.files(DATA / "bc5cdr-iob2", folder), folder)
        shell("bertft", "export", str(folder / "model"), "-q")
    return folder / "model"


def memory(bench: Bench) -> None:
    """Compare the peak memory and the time a row of long and short inputs."""
    print("\nprediction of many lines")
    model = model_for(bench)
    line = "Selegiline was given to 12 patients .\n"
    sizes = (2_000, 8_000) if bench.quick else (10_000, 100_000)
    found = {}
    for size in sizes:
        data = written(bench.scratch / f"{size}.txt", line * size)
        found[size] = bench.run("tests.bench.own", str(model), str(data), "--out", str(bench.scratch / "many.jsonl"))
        print(f"  {size:8,} lines  {found[size]['peak_mb']:6,.0f} MB  {found[size]['rows_per_second']:7,.0f} lines/s")
    few, many = (found[size] for size in sizes)
    bench.ratios["predict_memory_growth_mb"] = round(many["peak_mb"] - few["peak_mb"], 1)
    bench.ratio("predict_rows_flat", many["rows_per_second"], few["rows_per_second"])


def main() -> None:
    """Measure, print, and end with one JSON line of ratios where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="within 5 minutes")
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    parser.add_argument("--only", choices=(*WORKLOADS, "base"), action="append", help="one part; repeatable")
    parser.add_argument("--repeats", type=int, help="3, or 1 with --quick")
    parser.add_argument("--model", default="embedded")
    args = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"there are no data at {DATA}: the benchmark reads real sets from there")
    parts: dict[str, Callable[[Bench], None]] = {
        "train": training,
        "base": base,
        "predict": prediction,
        "answers": answers,
        "start": start,
        "memory": memory,
    }
    print(time.strftime("%Y-%m-%d"), machine())
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), args.repeats or (1 if args.quick else 3), args.quick, args.model)
        bench.peak = matmul_peak(0.3 if args.quick else 1.0)
        print("matmul peak: " + ", ".join(f"{dtype} {speed:,.0f} GFLOP/s" for dtype, speed in bench.peak.items()))
        for part in args.only or WORKLOADS:
            parts[part](bench)
    if args.json:
        print(json.dumps(bench.ratios))


if __name__ == "__main__":
    main()
