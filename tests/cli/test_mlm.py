"""`bertft train mlm` and what follows: filling masks as a filter, going on after an interruption, what is refused."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from cli.conftest import Ran, Run
from cli.test_resume import at_step, files, send

SENTENCES = [" ".join(word for word, _ in sentence) for sentence in tiny.sentences()]
SETTINGS = (
    "trainer.num_train_epochs=3", "trainer.bf16=false", "trainer.learning_rate=0.005", "options.window=40",
    "trainer.per_device_train_batch_size=4",
)  # fmt: skip
OVERRIDES = [part for setting in SETTINGS for part in ("--set", setting)]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, a text a line."""
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text("\n".join(SENTENCES * 2) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def train(cli: Run, encoder: Path, text: Path, tmp_path: Path) -> Run:
    def run(out: str, *extra: object) -> Ran:
        named = ("--data", text, "--dev", text, "--model", encoder, "--out", tmp_path / out)
        return cli("train", "mlm", *named, *OVERRIDES, *extra)

    return run


@pytest.fixture(scope="module")
def adapted(encoder: Path, text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import bertft

    out = tmp_path_factory.mktemp("adapted") / "model"
    bertft.train(
        bertft.load_recipe("mlm", [f"model={encoder}", *SETTINGS]), data=str(text), dev=str(text), out=str(out)
    )
    return out


@pytest.mark.parametrize("more", [(), ("--set", "trainer.train_sampling_strategy=random")], ids=["ours", "trainer's"])
@pytest.mark.parametrize("step", [2, 5])
def test_a_run_that_is_stopped_goes_on_with_the_same_masks(
    train: Run, more: tuple[str, ...], step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train("whole", *more).code == 0
    with monkeypatch.context() as patch:
        at_step(patch, step, send(signal.SIGTERM))
        train("out", *more).fails(143, "interrupted", "--resume")
    ran = train("out", "--resume", *more)
    assert ran.code == 0, ran.err
    assert f"resuming after step {step}" in ran.err
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_eval_gives_the_scores_of_training(cli: Run, adapted: Path, text: Path) -> None:
    scores = json.loads(cli("eval", adapted, "--data", text).out)
    dev = json.loads((adapted / "metrics.json").read_text())["dev"]
    assert {key: scores[key] for key in dev} == dev
    assert {"loss", "perplexity", "accuracy"} <= {*dev}
    low, high = dev["intervals"]["loss"]
    assert low < dev["loss"] < high
    shown = cli("eval", adapted, "--data", text, "-v").err
    assert "blank" not in shown


def test_a_report_and_a_least_score(cli: Run, adapted: Path, text: Path, tmp_path: Path) -> None:
    ran = cli("eval", adapted, "--data", text, "--report", tmp_path / "report.html")
    assert ran.code == 0, ran.err
    assert "perplexity" in (tmp_path / "report.html").read_text(encoding="utf-8")
    cli("predict", adapted, text, "--min-score", "0.5").fails(2, "several candidates")


def test_compare_tells_two_encoders_by_their_loss(cli: Run, adapted: Path, text: Path) -> None:
    found = json.loads(cli("compare", adapted, adapted, "--data", text, "--json", "--samples", "100").out)
    assert found["metric"] == "loss"
    assert found["pairs"][0]["differences"]["loss"]["difference"] == 0


def answered(ran: Ran) -> list[dict[str, Any]]:
    assert ran.code == 0, ran.err
    return [json.loads(line) for line in ran.out.splitlines()]


def test_masks_are_filled(cli: Run, adapted: Path, tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_text("Ada lives in [MASK] .\n<mask> hired [MASK] last week .\n", encoding="utf-8")
    rows = answered(cli("predict", adapted, path))
    for row in rows:
        for mask in row["prediction"]["masks"]:
            assert row["text"][mask["start"] : mask["end"]] in ("[MASK]", "<mask>")
            scores = [one["score"] for one in mask["candidates"]]
            assert len(scores) == 5
            assert scores == sorted(scores, reverse=True)
            assert all(one["token"] and one["token"] == one["token"].strip() for one in mask["candidates"])
    assert [len(row["prediction"]["masks"]) for row in rows] == [1, 2]


@pytest.mark.parametrize(("choice", "kept"), [("skip", [0, 2]), ("null", [0, 1, 2])])
def test_a_text_without_a_mask_is_a_bad_record(
    cli: Run, adapted: Path, tmp_path: Path, choice: str, kept: list[int]
) -> None:
    path = tmp_path / "in.jsonl"
    texts = ["Ada lives in [MASK] .", "no mask", "[MASK] ."]
    path.write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in enumerate(texts)), encoding="utf-8")
    ran = cli("predict", adapted, path)
    assert ran.code == 3
    assert len(ran.out.splitlines()) == 1
    assert "error: the text has no mask to be filled" in ran.err
    assert f"{path}:2" in ran.err
    ran = cli("predict", adapted, path, "--on-error", choice)
    rows = answered(ran)
    assert [row["id"] for row in rows] == kept
    assert [row["id"] for row in rows if row["prediction"] is None] == ([1] if choice == "null" else [])
    assert "1 of 3 records were bad" in ran.err


def test_a_table_gets_a_column(cli: Run, adapted: Path, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("text,source\nAda lives in [MASK] .,a\n", encoding="utf-8")
    ran = cli("predict", adapted, path)
    assert ran.out.splitlines()[0] == "text,source,pred_masks"
    assert '""candidates""' in ran.out.splitlines()[1]


def test_the_candidates_are_as_many_as_are_asked_for(train: Run, cli: Run, tmp_path: Path) -> None:
    assert train("out", "--set", "options.top_k=2", "--set", "trainer.max_steps=1").code == 0
    path = tmp_path / "in.txt"
    path.write_text("Ada [MASK]\n", encoding="utf-8")
    (row,) = answered(cli("predict", tmp_path / "out", path))
    assert len(row["prediction"]["masks"][0]["candidates"]) == 2


def test_an_export_fills_masks_and_has_the_same_scores(cli: Run, adapted: Path, text: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="needs the extra bertft[export]")
    copy = shutil.copytree(adapted, tmp_path / "model")
    asked = "Ada lives in [MASK] .\n<mask> hired [MASK] last week .\n"
    wanted = answered(cli("predict", copy, "-q", stdin=asked))
    dev = json.loads((copy / "metrics.json").read_text())["dev"]
    ran = cli("export", copy, "--int8", "--data", text, "--max-drop", "0.99")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["metric"] == "loss"
    for backend in ("openvino", "onnxruntime"):
        options = ("--backend", backend, "--precision", "fp32")
        for row, other in zip(answered(cli("predict", copy, "-q", *options, stdin=asked)), wanted, strict=True):
            for mask, same in zip(row["prediction"]["masks"], other["prediction"]["masks"], strict=True):
                assert [c["token"] for c in mask["candidates"]] == [c["token"] for c in same["candidates"]]
        scores = json.loads(cli("eval", copy, "--data", text, *options).out)
        assert scores["loss"] == pytest.approx(dev["loss"], abs=1e-4)


@pytest.mark.slow
def test_int8_is_left_out_where_the_loss_grows(cli: Run, adapted: Path, text: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="needs the extra bertft[export]")
    copy = shutil.copytree(adapted, tmp_path / "model")
    ran = cli("export", copy, "--int8", "--data", text, "--max-drop", "0")
    tried = [one for one in json.loads(ran.out)["candidates"] if one["dtype"] == "int8"]
    before = json.loads(ran.out)["before"]
    assert all(one["kept"] == (one["score"] <= before) for one in tried)
    assert ran.code == (0 if any(one["kept"] for one in tried) else 1)


def test_what_has_no_answer_by_row_is_refused(cli: Run, adapted: Path, text: Path) -> None:
    cli("inspect", "why", adapted, "Ada [MASK]").fails(2, "no label to explain")
    cli("inspect", "errors", adapted, "--data", text).fails(2, "makes no mistakes by row")


def test_check_reads_a_corpus_and_minds_no_blank_lines(cli: Run, encoder: Path, tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("\n\n".join(f"{i} {text}" for i, text in enumerate(SENTENCES)) + "\n", encoding="utf-8")
    ran = cli("check", "mlm", "--data", path, "--model", encoder)
    assert ran.code == 0, ran.err
    assert "empty" not in ran.out
    assert "label" not in ran.out
    path.write_text(" \n\n", encoding="utf-8")
    ran = cli("check", "mlm", "--data", path, "--model", encoder)
    assert ran.code == 1
    assert "there is no text in the file" in ran.out


@pytest.mark.parametrize("packing", ["blocks", "lines"])
def test_folders_and_tables_of_texts_are_a_corpus(cli: Run, encoder: Path, packing: str, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "texts" / "2021").mkdir(parents=True)
    for i, text in enumerate(SENTENCES[:10]):
        (tmp_path / "texts" / ("2021" if i % 2 else "") / f"{i}.txt").write_text(text, encoding="utf-8")
    pq.write_table(pa.table({"text": SENTENCES}), tmp_path / "dev.parquet")
    named = ("--data", tmp_path / "texts", "--dev", tmp_path / "dev.parquet", "--out", tmp_path / "out")
    settings = ("--set", f"options.packing={packing}", "--set", "trainer.max_steps=1")
    ran = cli("train", "mlm", *named, "--model", encoder, *settings)
    assert ran.code == 0, ran.err
    assert "10 texts in 2 folders" in ran.err
    assert "10 examples" in ran.err


@pytest.mark.parametrize("family", ["roberta", "albert"])
def test_both_ways_to_write_a_mask_are_one(
    cli: Run, base: Callable[[str], Path], family: str, text: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    named = ("--data", text, "--dev", text, "--model", base(family), "--out", out)
    assert cli("train", "mlm", *named, *OVERRIDES, "--set", "trainer.max_steps=2").code == 0
    path = tmp_path / "in.txt"
    path.write_text("Ada lives in [MASK] .\nAda lives in <mask> .\n", encoding="utf-8")
    first, second = answered(cli("predict", out, path))
    assert first["prediction"] == second["prediction"]
