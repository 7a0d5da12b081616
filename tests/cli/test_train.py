"""`bertft train` and `bertft eval`: what they refuse, what they print, what they leave behind."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml
from cli.conftest import Run

from bertft.training.directory import RunDirectory

GOOD = "Paris\tB-LOC\nis\tO\nnice\tO\n.\tO\n\nMaria\tB-PER\nlives\tO\n.\tO\n\n"


def bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """Return bad input by name: the file, and the place its error must name."""
    contents: dict[str, tuple[bytes, int | None]] = {
        "no tag column": (b"Paris\nis\nnice\n\nMaria\nlives\n\n", 1),
        "ragged columns": (GOOD.encode() * 5 + b"one\ttwo\tB-LOC\n\n", 46),
        "empty": (b"", 1),
        "only blank lines": (b"\n\n  \n", 1),
        "binary": (bytes(range(256)) * 20, 1),
        "a token over 100 kB": (GOOD.encode() + b"x" * 100_001 + b"\tO\n\n", 10),
        "invalid UTF-8": (GOOD.encode() + b"Caf\xe9\tO\n\n", 10),
        "only O": (b"Paris\tO\nis\tO\n\nnice\tO\n\n", 1),
        "gzip": (b"\x1f\x8b\x08\x00damaged", 1),
    }
    found = {}
    for name, (content, line) in contents.items():
        path = folder / f"{name.replace(' ', '-')}.conll"
        path.write_bytes(content)
        found[name] = (path, f"{path}:{line}" if line else str(path))
    (folder / "folder").mkdir()
    found["directory"] = (folder / "folder", str(folder / "folder"))
    found["missing"] = (folder / "mising.conll", str(folder / "mising.conll"))
    return found


BAD = ("no tag column", "ragged columns", "empty", "only blank lines", "binary", "a token over 100 kB", "invalid UTF-8",
       "only O", "gzip", "directory", "missing")  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_training_data_is_one_message_with_its_place(name: str, cli: Run, encoder: Path, tmp_path: Path) -> None:
    path, place = bad_files(tmp_path)[name]
    out = tmp_path / "out"
    ran = cli("train", "ner", "--data", path, "--model", encoder, "--out", out)
    ran.fails(3, f"--> {place}\n")
    assert [found.name for found in tmp_path.iterdir() if found.name.startswith("out")] == []


@pytest.mark.parametrize("name", [name for name in BAD if name != "only O"])
def test_bad_data_is_refused_by_eval(name: str, cli: Run, model: Path, tmp_path: Path) -> None:
    path, place = bad_files(tmp_path)[name]
    cli("eval", model, "--data", path).fails(3, f"--> {place}\n")


def test_bad_dev_data_leaves_nothing_behind(cli: Run, encoder: Path, train_file: Path, tmp_path: Path) -> None:
    dev = tmp_path / "dev.conll"
    dev.write_text(GOOD * 5 + "one\ttwo\tthree\n", encoding="utf-8")
    ran = cli("train", "ner", "--data", train_file, "--dev", dev, "--model", encoder, "--out", tmp_path / "out")
    ran.fails(3, f"--> {dev}:46")
    assert list(tmp_path.iterdir()) == [dev]


def test_undecodable_text_names_the_option_that_helps(cli: Run, encoder: Path, tmp_path: Path) -> None:
    path, _ = bad_files(tmp_path)["invalid UTF-8"]
    cli("train", "ner", "--data", path, "--model", encoder, "--out", tmp_path / "o").fails(3, "--encoding latin-1")


def test_a_missing_file_s_neighbour_is_named(cli: Run, encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "train.conll").write_text(GOOD, encoding="utf-8")
    ran = cli("train", "ner", "--data", tmp_path / "trian.conll", "--model", encoder, "--out", tmp_path / "o")
    ran.fails(3, "did you mean 'train.conll'?")


def test_a_table_is_recognised(cli: Run, encoder: Path, tmp_path: Path) -> None:
    table = tmp_path / "reviews.tsv"
    table.write_text("".join(f"this film was number {i} of the year\t{i % 2}\n" for i in range(50)), encoding="utf-8")
    ran = cli("train", "ner", "--data", table, "--model", encoder, "--out", tmp_path / "o")
    ran.fails(3, "bertft train classify")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("./none", ["there is no directory './none'"]),
        ("FILE", ["this is a file"]),
        ("EMPTY", ["no config.json"]),
    ],
)
def test_a_missing_model_is_exit_4(name: str, parts: list[str], cli: Run, train_file: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    chosen = {"FILE": str(train_file), "EMPTY": str(tmp_path / "empty")}.get(name, name)
    out = tmp_path / "out"
    cli("train", "ner", "--data", train_file, "--model", chosen, "--out", out).fails(4, *parts)
    cli("eval", chosen, "--data", train_file).fails(4, *parts)
    cli("predict", chosen, train_file).fails(4, *parts)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize("offline_mode", [True, False])
def test_an_unreachable_hub_is_one_message_with_the_ways_out(
    offline_mode: bool, shell: Run, train_file: Path, tmp_path: Path
) -> None:
    arguments = ("train", "ner", "--data", train_file, "--model", "nobody/nothing", "--out", tmp_path / "out")
    ran = shell(*arguments, HF_HUB_OFFLINE="1" if offline_mode else "0")
    ran.fails(4, "nobody/nothing", "--model embedded")
    assert list(tmp_path.iterdir()) == []


def test_a_cached_hub_model_is_used_without_asking_the_hub(shell: Run, model: Path, tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "hub" / "models--someone--tagger"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (snapshot / name).write_bytes((model / name).read_bytes())
    with socket.create_server(("127.0.0.1", 0)) as hub:
        there = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.getsockname()[1]}", "NO_PROXY": "127.0.0.1"}
        ran = shell("predict", "someone/tagger", stdin="Maria lives in Rome .\n", HF_HOME=tmp_path / "hub", **there)
        assert ran.code == 0, ran.err
        assert json.loads(ran.out)["prediction"]["entities"]
        hub.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody has called
            hub.accept()


def test_trains_evaluates_and_predicts(shell: Run, encoder: Path, train_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    trained = shell(
        "train", "ner", "--data", train_file, "--dev", train_file, "--model", encoder, "--out", out,
        "--set", "trainer.num_train_epochs=30", "--set", "trainer.learning_rate=5e-3",
        "--set", "trainer.eval_strategy=no", "--set", "trainer.save_strategy=no",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    assert trained.out.count("\n") == 1
    result = json.loads(trained.out)
    assert result["model"] == str(out)
    assert result["dev"]["f1"] > 0.9
    assert "scheme: BIO, detected; 0 of 32 sentences inconsistent" in trained.err
    assert "0 of 217 words lost" in trained.err
    assert "\r" not in trained.err
    assert "Loading weights" not in trained.err
    assert "Some weights" not in trained.err
    assert {"bertft.json", "config.json", "metrics.json", "model.safetensors", "README.md", "recipe.yaml",
            "tokenizer.json"} <= {path.name for path in out.iterdir()}  # fmt: skip
    assert not [path.name for path in out.iterdir() if path.suffix in (".bin", ".pt", ".pkl")]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]

    scored = shell("eval", out, "--data", train_file)
    assert json.loads(scored.out).items() >= result["dev"].items()

    answered = shell("predict", out, stdin="Ada Stone lives in Paris .\n")
    answer = json.loads(answered.out)
    assert answer["text"] == "Ada Stone lives in Paris ."
    assert [(e["text"], e["label"]) for e in answer["prediction"]["entities"]] == [
        ("Ada Stone", "PER"),
        ("Paris", "LOC"),
    ]


def quick(cli: Run, encoder: Path, data: Path, out: Path, *more: object) -> Any:
    return cli(
        "train", "ner", "--data", data, "--model", encoder, "--out", out, "--set", "trainer.num_train_epochs=1", *more
    )


def test_quiet_says_nothing_on_success(cli: Run, encoder: Path, train_file: Path, tmp_path: Path) -> None:
    ran = quick(cli, encoder, train_file, tmp_path / "out", "-q")
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out)["model"] == str(tmp_path / "out")


def test_without_dev_a_part_is_held_out_and_said(cli: Run, encoder: Path, train_file: Path, tmp_path: Path) -> None:
    ran = quick(cli, encoder, train_file, tmp_path / "out", "--seed", 5)
    assert ran.code == 0, ran.err
    assert "no --dev: 3 of 32 rows (9%) held out at random, seed 5" in ran.err
    assert "seed 5" in ran.err
    assert json.loads(ran.out)["dev"]["sentences"] == 3


def test_the_saved_recipe_can_be_run_again(cli: Run, encoder: Path, train_file: Path, tmp_path: Path) -> None:
    first = quick(cli, encoder, train_file, tmp_path / "one", "--set", "options.window=40", "--seed", 7)
    again = cli("train", tmp_path / "one" / "recipe.yaml", "--data", train_file, "--out", tmp_path / "two")
    assert (first.code, again.code) == (0, 0), again.err
    assert json.loads(first.out)["dev"] == json.loads(again.out)["dev"]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]
    recipes = [(tmp_path / name / "recipe.yaml").read_text() for name in ("one", "two")]
    assert recipes[0] == recipes[1]


def test_a_dry_run_prints_the_recipe_and_counts_and_trains_nothing(
    cli: Run, encoder: Path, train_file: Path, tmp_path: Path
) -> None:
    ran = cli(
        "train", "ner", "--data", train_file, "--model", encoder, "--out", tmp_path / "out", "--dry-run", "--seed", 3
    )
    assert ran.code == 0, ran.err
    recipe = yaml.safe_load(ran.out)
    assert (recipe["task"], recipe["seed"], recipe["model"]) == ("ner", 3, str(encoder))
    assert recipe["options"]["decode"] == "viterbi"
    comments = dict(line.removeprefix("# ").split(": ", 1) for line in ran.out.splitlines() if line.startswith("# "))
    assert set(json.loads(comments["labels"])) == {"PER", "LOC", "ORG"}
    assert json.loads(comments["tokens"])["examples"] == 29
    assert list(tmp_path.iterdir()) == []


def test_dev_in_another_scheme_is_converted_and_said(cli: Run, encoder: Path, train_file: Path, tmp_path: Path) -> None:
    rows = [[(w, t) for w, t in row] for row in tiny.sentences()]
    bioes = []
    for row in rows:
        tags = [tag for _, tag in row] + ["O"]
        ends = [not tags[i + 1].startswith("I-") for i in range(len(row))]
        letter = {("B", True): "S", ("I", True): "E"}
        bioes.append(
            [
                (w, f"{letter.get((t[0], end), t[0])}{t[1:]}" if t != "O" else t)
                for (w, t), end in zip(row, ends, strict=True)
            ]
        )
    dev = tmp_path / "dev.conll"
    dev.write_text(tiny.conll(bioes), encoding="utf-8")
    ran = quick(cli, encoder, train_file, tmp_path / "out", "--dev", dev, "--test", train_file)
    assert ran.code == 0, ran.err
    assert f"{dev}: scheme: BIOES, detected; 0 of 32 sentences inconsistent" in ran.err
    scores = json.loads(ran.out)
    assert scores["dev"] == scores["test"]


def test_jsonl_trains_like_the_column_file(cli: Run, encoder: Path, train_file: Path, tmp_path: Path) -> None:
    data = tmp_path / "train.jsonl"
    rows = [{"tokens": [w for w, _ in row], "ner_tags": [t for _, t in row]} for row in tiny.sentences()]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    columns = quick(cli, encoder, train_file, tmp_path / "one")
    lines = quick(cli, encoder, data, tmp_path / "two")
    assert json.loads(columns.out)["dev"] == json.loads(lines.out)["dev"]


def test_an_existing_out_needs_overwrite(cli: Run, encoder: Path, train_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert quick(cli, encoder, train_file, out).code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    quick(cli, encoder, train_file, out).fails(2, "exists already", "--overwrite")
    assert before == {path.name: path.read_bytes() for path in out.iterdir()}
    assert quick(cli, encoder, train_file, out, "--overwrite", "--seed", 99).code == 0
    assert yaml.safe_load((out / "recipe.yaml").read_text())["seed"] == 99
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failing_overwrite_keeps_the_old_model(cli: Run, encoder: Path, train_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert quick(cli, encoder, train_file, out).code == 0
    quick(cli, encoder, tmp_path / "none.conll", out, "--overwrite").fails(3)
    assert (out / "bertft.json").is_file()


def test_a_directory_that_is_no_model_is_never_overwritten(
    cli: Run, encoder: Path, train_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"x")
    quick(cli, encoder, train_file, tmp_path / "photos").fails(2, "exists already")
    quick(cli, encoder, train_file, tmp_path / "photos", "--overwrite").fails(2, "not overwritten")
    assert (tmp_path / "photos" / "one.jpg").exists()


def test_an_unfinished_run_needs_resume_or_overwrite(cli: Run, encoder: Path, train_file: Path, tmp_path: Path) -> None:
    (tmp_path / "out.partial" / "checkpoints").mkdir(parents=True)
    quick(cli, encoder, train_file, tmp_path / "out").fails(2, "--resume", "--overwrite", "out.partial")
    assert quick(cli, encoder, train_file, tmp_path / "out", "--resume").code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_resume_on_a_finished_run_prints_its_result(cli: Run, encoder: Path, train_file: Path, tmp_path: Path) -> None:
    done = quick(cli, encoder, train_file, tmp_path / "out")
    before = (tmp_path / "out" / "model.safetensors").stat().st_mtime_ns
    ran = quick(cli, encoder, train_file, tmp_path / "out", "--resume")
    assert ran.code == 0, ran.err
    assert "is finished" in ran.err
    assert ran.out == done.out
    assert (tmp_path / "out" / "model.safetensors").stat().st_mtime_ns == before
    other = quick(cli, encoder, train_file, tmp_path / "out", "--resume", "--seed", 14)
    other.fails(2, "another one", "recipe seed: 13 before, 14 now", "--overwrite")


@pytest.mark.parametrize("within", [False, True], ids=["between epochs", "within an epoch"])
def test_resume_after_an_interruption_gives_the_same_weights(
    cli: Run, encoder: Path, train_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, within: bool
) -> None:
    from bertft.training.trainer import EncoderTrainer

    several = ["--set", "trainer.num_train_epochs=3", "--set", "trainer.bf16=false"]
    if within:
        often = ("eval_strategy=steps", "eval_steps=3", "save_strategy=steps", "save_steps=3")
        several += [part for setting in often for part in ("--set", f"trainer.{setting}")]
    whole = quick(cli, encoder, train_file, tmp_path / "whole", *several)
    assert whole.code == 0
    if within:
        assert re.search(r"^4 batches of about .* an epoch", whole.err, re.MULTILINE)  # step 3 is not the last of one
    steps = 0
    original = EncoderTrainer.training_step

    def interrupted(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 4 + within:
            raise KeyboardInterrupt
        return original(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(EncoderTrainer, "training_step", interrupted)
        ran = quick(cli, encoder, train_file, tmp_path / "torn", *several)
    assert (ran.code, ran.out) == (130, "")
    assert not (tmp_path / "torn").exists()
    ran = quick(cli, encoder, train_file, tmp_path / "torn", *several, "--resume")
    assert ran.code == 0, ran.err
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "torn")]
    assert weights[0] == weights[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["torn", "whole"]


def test_an_interruption_is_said(
    cli: Run, encoder: Path, train_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bertft.training.trainer import EncoderTrainer

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(EncoderTrainer, "training_step", interrupted)
    quick(cli, encoder, train_file, tmp_path / "out").fails(130, "interrupted")
    assert list(tmp_path.iterdir()) == []


def test_another_running_process_is_not_disturbed(cli: Run, encoder: Path, train_file: Path, tmp_path: Path) -> None:
    partial = tmp_path / "out.partial"
    with RunDirectory(tmp_path / "out").locked():
        (partial / "mine").touch()
        for flag in ("--resume", "--overwrite"):
            ran = quick(cli, encoder, train_file, tmp_path / "out", flag)
            ran.fails(2, "another run", f"process {os.getpid()} on {os.uname().nodename}")
        assert (partial / "mine").exists()


def test_bad_tags_can_be_refused(cli: Run, encoder: Path, tmp_path: Path) -> None:
    data = tmp_path / "bad.conll"
    data.write_text(GOOD * 10 + "in\tO\nLima\tI-LOC\nCity\tI-LOC\n\n" + GOOD, encoding="utf-8")
    repaired = quick(cli, encoder, data, tmp_path / "out")
    assert repaired.code == 0, repaired.err
    assert f"{data}:92" in repaired.err
    ran = quick(cli, encoder, data, tmp_path / "no", "--set", "options.on_bad_tags=fail")
    ran.fails(3, "'I-LOC'", "'Lima'", f"--> {data}:92", "on_bad_tags=repair")


def test_plain_tags_are_scored_by_accuracy(cli: Run, encoder: Path, tmp_path: Path) -> None:
    data = tmp_path / "pos.conll"
    data.write_text("the\tDET\ndog\tNOUN\nruns\tVERB\n\na\tDET\nfox\tNOUN\njumps\tVERB\n\n" * 8, encoding="utf-8")
    ran = quick(cli, encoder, data, tmp_path / "out", "--dev", data)
    assert ran.code == 0, ran.err
    scores = json.loads(ran.out)["dev"]
    assert {"accuracy", "macro_f1", "support"} <= scores.keys()
    answer = json.loads(cli("predict", tmp_path / "out", stdin="the dog runs\n").out)
    assert len(answer["prediction"]["tags"]) == 3


def test_limit_reads_that_many_rows(cli: Run, encoder: Path, train_file: Path, tmp_path: Path) -> None:
    ran = quick(cli, encoder, train_file, tmp_path / "out", "--dev", train_file, "--limit", 6)
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["dev"]["sentences"] == 6


def test_evaluation_switched_off_says_so(cli: Run, encoder: Path, train_file: Path, tmp_path: Path) -> None:
    ran = quick(cli, encoder, train_file, tmp_path / "out", "--set", "trainer.eval_strategy=no")
    assert ran.code == 0, ran.err
    assert "early stopping is off" in ran.err


def test_documents_are_windowed_and_no_word_is_lost(cli: Run, encoder: Path, tmp_path: Path) -> None:
    data = tmp_path / "documents.conll"
    document = "-DOCSTART-\tO\n\n" + tiny.conll(tiny.sentences()[::4])
    data.write_text(document * 4, encoding="utf-8")
    words = sum(len(row) for row in tiny.sentences()[::4])
    options = ("--set", "options.unit=document", "--set", "options.window=32", "--set", "options.stride=8")
    ran = quick(cli, encoder, data, tmp_path / "out", "--dev", data, *options)
    assert ran.code == 0, ran.err
    assert f"{4 * words:,} words in 4 examples" in ran.err
    assert f"4 examples longer than a window; 0 of {4 * words:,} words lost" in ran.err
    assert json.loads(ran.out)["dev"]["sentences"] == 32


@pytest.mark.parametrize(
    "options", [("options.window=500",), ("options.window=32", "options.stride=30"), ("options.window=2",)]
)
def test_a_window_without_room_is_refused(
    options: tuple[str, ...], cli: Run, encoder: Path, train_file: Path, tmp_path: Path
) -> None:
    settings = [part for option in options for part in ("--set", option)]
    ran = quick(cli, encoder, train_file, tmp_path / "out", *settings)
    assert ran.code in (2, 4)
    ran.fails(ran.code, "options.")
    assert list(tmp_path.iterdir()) == []


def test_eval_prints_json_when_piped(cli: Run, model: Path, train_file: Path) -> None:
    ran = cli("eval", model, "--data", train_file)
    scores = json.loads(ran.out)
    assert {"f1", "precision", "recall", "argmax_f1", "accuracy", "per_label"} <= scores.keys()
    assert "strict_f1" not in scores


def test_eval_counts_invalid_sequences(cli: Run, model: Path, tmp_path: Path) -> None:
    data = tmp_path / "bad.conll"
    data.write_text("Maria\tB-PER\nlives\tO\nin\tO\nParis\tI-LOC\n.\tO\n\n" + GOOD * 10, encoding="utf-8")
    scores = json.loads(cli("eval", model, "--data", data).out)
    assert scores["invalid_sequences"] == 1
    assert scores["strict_f1"] < scores["f1"]


def test_eval_shows_a_table_on_a_terminal(
    cli: Run, model: Path, train_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    ran = cli("eval", model, "--data", train_file)
    assert "precision" in ran.out.splitlines()[0]
    assert any(line.startswith("PER") and line.endswith("28") for line in ran.out.splitlines())
    assert json.loads(cli("eval", model, "--data", train_file, "--json").out)["support"] == 64


def test_a_metric_file_needs_trust(cli: Run, model: Path, train_file: Path, tmp_path: Path) -> None:
    script = tmp_path / "metric.py"
    script.write_text("raise SystemExit\n")
    cli("eval", model, "--data", train_file, "--metric", script).fails(2, "--trust-remote-code")


def test_a_device_that_is_not_there_is_refused(cli: Run, model: Path, train_file: Path) -> None:
    for device in ("cuda:99", "tpu", "nonsense"):
        cli("eval", model, "--data", train_file, "--device", device).fails(2, device)


@pytest.mark.parametrize(
    "setting",
    [
        *("lr_scheduler_type=warmup_stable_decay", "lr_scheduler_kwargs={foo: 1}"),
        *("dataloader_persistent_workers=true", "num_train_epochs=inf"),
    ],
)
def test_a_setting_that_trainer_refuses_late_is_a_usage_error(
    cli: Run, encoder: Path, train_file: Path, tmp_path: Path, setting: str
) -> None:
    named = ("--data", train_file, "--model", encoder, "--out", tmp_path / "out")
    cli("train", "ner", *named, "--set", f"trainer.{setting}").fails(2, "trainer")
    assert not list(tmp_path.glob("out*"))


def test_a_role_is_named_once(cli: Run, train_file: Path) -> None:
    ran = cli("train", "classify", "--data", train_file, "--columns", "label=a,label=b")
    ran.fails(2, "label is named twice", "label=a+b")


def test_recipes_are_listed_shown_and_copied(cli: Run, tmp_path: Path) -> None:
    listed = [line.split(maxsplit=1) for line in cli("recipes").out.splitlines()]
    assert {"classify", "multilabel", "ner", "nli", "pair", "pos", "qa", "qa-v2", "rank"} < {name for name, _ in listed}
    assert all(what.endswith(".") for _, what in listed)
    shown = cli("recipes", "show", "ner").out
    assert yaml.safe_load(shown)["task"] == "ner"
    copied = tmp_path / "mine.yaml"
    assert cli("recipes", "copy", "ner", copied).out == f"{copied}\n"
    assert copied.read_text(encoding="utf-8") == shown
    cli("recipes", "copy", "ner", copied).fails(2, str(copied))
