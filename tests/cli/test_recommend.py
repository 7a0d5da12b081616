"""`bertft recommend`: what it measures, what it recommends, that its command runs, and what it says of the rest."""

from __future__ import annotations

import json
import shlex
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Ran, Run

from bertft.encoders import here
from bertft.errors import GateError
from bertft.scoring.outcomes import Outcomes
from bertft.training import candidates, rounds
from bertft.training.candidates import Pace
from bertft.training.rounds import Work, affordable, learnt_nothing, work

Base = Callable[[str], Path]
CANDIDATE = {
    "model", "score", "interval", "difference", "significantly_worse", "rows", "latency_ms", "runs_on", "parameters",
    "bytes", "meets_budget", "reason",
}  # fmt: skip


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, and a working directory of its own: nothing may be left in either."""
    folder, place = tmp_path / "scratch", tmp_path / "cwd"
    folder.mkdir()
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.chdir(place)
    return folder


@pytest.fixture
def cache(tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hub cache that holds an encoder with a short name, another, and a part of a third."""
    import huggingface_hub.constants

    folder = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    for name in ("google--muril-base-cased", "some--encoder", "in--part"):
        repository = folder / f"models--{name}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("abc")
        shutil.copytree(encoder, repository / "snapshots" / "abc")
    (folder / "models--in--part" / "snapshots" / "abc" / "model.safetensors").unlink()
    (folder / "datasets--some--data").mkdir()
    return folder


@pytest.fixture
def ask(cli: Run, base: Base, train_file: Path) -> Callable[..., Ran]:
    """Return a function that asks for a recommendation among two tiny encoders."""
    models = f"{base('bert-uncased')},{base('distilbert')}"

    def run(*arguments: object, models: str = models) -> Ran:
        settings = ("--set", "trainer.bf16=false", "--set", "trainer.num_train_epochs=2")
        files = ("--data", train_file, "--dev", train_file)
        return cli("recommend", *arguments, *files, "--models", models, "--device", "cpu", *settings)

    return run


def test_a_budget_of_another_gpu_than_that_of_training_is_refused(cli: Run, train_file: Path) -> None:
    ran = cli("recommend", "--data", train_file, "--device", "cuda:1", "--budget", "2ms@cuda:0")
    ran.fails(2, "the budget is of cuda:0, and the encoders would be trained on cuda:1")


def test_the_command_that_is_recommended_runs(ask: Callable[..., Ran], cli: Run, scratch: Path) -> None:
    ran = ask("--budget", "10s@cpu")
    assert ran.code == 0, ran.err
    assert ran.out.count("\n") == 1
    found = json.loads(ran.out)
    assert (found["recipe"], found["metric"]) == ("ner", "f1")
    assert found["budget"] == {"ms": 10_000, "device": "cpu"}
    assert found["rows"] == {"train": 32, "used": 32, "epochs": 2.0, "dev": 32}
    for one in found["candidates"]:
        assert one.keys() == CANDIDATE
        assert one["reason"] is None
        assert one["meets_budget"] is True
        low, high = one["interval"]
        assert 0 <= low <= one["score"] <= high <= 1
        assert 0 < one["latency_ms"]["median"] <= one["latency_ms"]["p95"]
        assert one["latency_ms"]["texts"] == 32
        assert one["bytes"] == 4 * one["parameters"]
        assert one["runs_on"] == "cpu, torch, fp32"
    assert {one["rows"] for one in found["candidates"]} == {32}
    assert [one["difference"] is None for one in found["candidates"]].count(True) == 1
    assert "is data for `ner`, which is assumed" in ran.err
    assert "plan: 2 encoders on 32 rows (2 epochs); scored on 32 rows of dev" in ran.err
    assert not list(scratch.iterdir())
    assert not list(Path.cwd().iterdir())

    name, *arguments = shlex.split(found["command"])
    assert name == "bertft"
    assert arguments[arguments.index("--model") + 1] == found["recommended"]
    trained = cli(*arguments, "--out", "made")
    assert trained.code == 0, trained.err
    assert json.loads(trained.out)["model"] == "made"


@pytest.mark.slow
def test_the_same_seed_gives_the_same_scores(ask: Callable[..., Ran]) -> None:
    first, second = (json.loads(ask("ner", "--seed", 3).out) for _ in range(2))
    assert [one["score"] for one in first["candidates"]] == [one["score"] for one in second["candidates"]]
    assert "--seed 3" in first["command"]


def test_a_budget_that_nothing_meets_is_a_no_with_figures(ask: Callable[..., Ran], monkeypatch: Any) -> None:
    monkeypatch.setattr(rounds, "fit", None)  # nothing is trained then
    ran = ask("ner", "--budget", "1us@cpu")
    assert ran.code == 1
    for part in ("no encoder here meets the budget of 0.001 ms on cpu", "ms (half of the answers: ", "bertft export"):
        assert part in ran.err
    found = json.loads(ran.out)
    assert (found["recommended"], found["command"]) == (None, None)
    for one in found["candidates"]:
        assert (one["meets_budget"], one["score"]) == (False, None)
        assert one["latency_ms"]["p95"] > 0.001
        assert one["reason"] == "over the budget of 0.001 ms on cpu: not trained"


def test_what_cannot_be_used_is_named_with_the_reason(
    ask: Callable[..., Ran], base: Base, encoder: Path, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    pickled, writer, empty = (tmp_path / name for name in ("pickled", "writer", "empty"))
    shutil.copytree(encoder, pickled)
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    shutil.copytree(encoder, writer)
    (writer / "config.json").write_text('{"model_type": "gpt2", "n_embd": 32}')
    empty.mkdir()
    unusable = {
        str(pickled): "is a pickle",
        str(writer): "gpt2 is no encoder",
        str(empty): "has no config.json",
        "some/model": "it is not on this machine (`hf download some/model` brings it here)",
        "embeded": "did you mean 'embedded'?",
        "xlm-roberta-base": "it is not on this machine",
    }
    ran = ask("ner", models=",".join([str(encoder), *unusable]))
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["recommended"] == str(encoder)
    reasons = {one["model"]: one["reason"] for one in found["candidates"]}
    assert reasons.pop(str(encoder)) is None
    assert reasons.keys() == unusable.keys()
    for name, said in unusable.items():
        assert said in reasons[name]
        assert f"{name} is left out" in ran.err
    ask("ner", models=f"{empty},{writer}").fails(4, "no encoder can be used", f"{empty}: ", f"{writer}: ")


def test_what_memory_cannot_hold_is_left_out(
    ask: Callable[..., Ran], encoder: Path, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = here.parameters(here.checkpoint(str(encoder)))
    assert weights is not None
    monkeypatch.setattr(candidates, "free_bytes", lambda device: 16 * weights)
    larger = str(base("roberta"))
    found = json.loads(ask("ner", models=f"{encoder},{larger}").out)
    assert found["recommended"] == str(encoder)
    assert "of memory" in found["candidates"][1]["reason"]


def test_without_models_all_that_are_here_are_measured(cli: Run, cache: Path, train_file: Path) -> None:
    assert here.names() == ["embedded", "muril", "in/part", "some/encoder"]
    ran = cli("recommend", "--data", train_file, "--dev", train_file, "--budget", "1us@cpu")
    assert ran.code == 1, ran.err
    found = {one["model"]: one for one in json.loads(ran.out)["candidates"]}
    assert [*found] == ["embedded", "muril", "in/part", "some/encoder"]
    assert found["embedded"]["parameters"] > 22e6
    assert found["in/part"]["reason"] == "the Hub cache has a part of it, without config.json and weights"
    assert all(found[name]["latency_ms"] for name in ("embedded", "muril", "some/encoder"))


@pytest.mark.slow
def test_what_keeps_up_goes_on_with_more_rows(ask: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([30, 8, 20, 60, 0])
    monkeypatch.setattr(rounds, "_LEAST", 4)
    monkeypatch.setattr(rounds, "affordable", lambda *_, **__: next(counts))
    ran = ask("ner")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert "plan: 2 encoders on 8 rows of 32, then those that keep up on more" in ran.err
    for part in ("2 go on, on 20 rows: ", "2 go on, on 32 rows (1.9 epochs): "):
        assert part in ran.err
    assert {one["rows"] for one in found["candidates"]} == {found["rows"]["used"]} == {32}


def test_a_short_training_says_that_it_was_short(ask: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_LEAST", 4)
    counts = iter([20, 8, 0])
    monkeypatch.setattr(rounds, "affordable", lambda *_, **__: next(counts))
    monkeypatch.setattr(rounds, "learnt_nothing", lambda _: True)
    ran = ask("ner")
    assert "no encoder has learnt anything: the fastest is no better than the others; with more `--minutes`" in ran.err
    assert "scores are those of a short training, after 8 of 32 rows" in ran.err
    assert "the whole one comes to more" in ran.err


def test_a_slow_encoder_does_not_take_the_time_of_the_others(ask: Callable[..., Ran], monkeypatch: Any) -> None:
    monkeypatch.setattr(rounds, "affordable", lambda paces, *_, **__: 0 if len(paces) > 1 else 64)
    ran = ask("ner")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    reasons = [one["reason"] for one in found["candidates"] if one["reason"]]
    assert reasons == ["too slow to be trained in 5 minutes; `--minutes` allows more"]
    assert found["recommended"] is not None


@pytest.mark.slow
def test_one_that_diverges_is_left_out(ask: Callable[..., Ran], base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    original = rounds.fit

    def diverging(job: Any, *arguments: Any, **named: Any) -> Any:
        if job.encoder.checkpoint.name == str(base("distilbert")):
            raise GateError("the training loss is nan at step 3")
        return original(job, *arguments, **named)

    monkeypatch.setattr(rounds, "fit", diverging)
    found = json.loads(ask("ner").out)
    assert found["recommended"] == str(base("bert-uncased"))
    assert found["candidates"][1]["reason"] == "the training loss is nan at step 3"
    monkeypatch.setattr(rounds, "fit", lambda *_, **__: diverging(_[0]))
    ran = ask("ner", models=str(base("distilbert")))
    assert (ran.code, json.loads(ran.out)["recommended"]) == (1, None)
    assert "error: no encoder could be trained" in ran.err


def test_an_interrupt_leaves_nothing_behind(
    ask: Callable[..., Ran], scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(job: Any, folder: Path, **_: Any) -> Any:
        folder.mkdir(parents=True)
        (folder / "checkpoint").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(rounds, "fit", stop)
    assert ask("ner").code == 130
    assert not list(scratch.iterdir())
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--budget", "10mss@cpu", "--data", "x"], 2, "there is no unit 'mss'"),
        (["--budget", "10ms@gpu", "--data", "x"], 2, "a GPU is cuda"),
        (["--models", ",", "--data", "x"], 2, "names none"),
        (["--minutes", "0", "--data", "x"], 2, "--minutes"),
        (["nre", "--data", "x"], 2, "did you mean 'ner'?"),
        (["--data", "-"], 2, "name the recipe"),
        (["mlm", "--data", "x", "--models", "embedded"], 2, "cannot be compared"),
        (["classify", "--teacher", "x", "--data", "x"], 2, "--teacher"),
        (["ner", "--data", "not-there.conll", "--models", "embedded"], 3, "not-there.conll"),
        (["--data", "not-there.conll"], 3, "not-there.conll"),
    ],
)
def test_what_is_wrong_is_said(cli: Run, arguments: list[str], code: int, said: str) -> None:
    cli("recommend", *arguments).fails(code, said)


def test_a_wrong_budget_is_said_before_anything_heavy_is_imported(shell: Run) -> None:
    ran = shell("recommend", "--data", "x.csv", "--budget", "10@cpu", PYTHONPROFILEIMPORTTIME=1)
    assert ran.code == 2
    assert "did you mean '10ms@cpu'?" in ran.err
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ran.err.splitlines() if "|" in line}
    assert not imported & {"torch", "transformers", "numpy", "datasets", "tokenizers"}


@pytest.mark.slow
def test_on_a_terminal_there_is_a_table(ask: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    import bertft.cli.recommend as command

    class Terminal:
        """The stdout that the command sees; what it prints goes where it went."""

        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(command, "sys", type("Sys", (), {"stdout": Terminal()}))
    ran = ask("ner", "--budget", "10s@cpu")
    assert ran.code == 0, ran.err
    head, *rows = ran.out.splitlines()
    assert head.split()[:3] == ["encoder", "dev", "f1"]
    assert [row[:2] for row in rows[:2]].count("* ") == 1
    assert max(map(len, rows[:2])) == len(head)
    assert rows[-1].startswith("bertft train ner --data ")
    assert json.loads(ask("ner", "--json").out)["recommended"]


def test_rows_are_as_many_as_the_time_allows() -> None:
    fast, slow = Pace(setup=1.0, row=0.01, scored=0.002), Pace(setup=2.0, row=0.04, scored=0.008)
    assert affordable([fast, slow], 100.0, scored=200) == 1900
    assert affordable([fast], 100.0, scored=200) == 9860
    assert affordable([slow], 1.0, scored=200) == 0


def test_new_rows_are_seen_before_old_ones_again() -> None:
    assert work(500, 1000, epochs=3) == Work(500, 1.0)
    assert work(1500, 1000, epochs=3) == Work(1000, 1.5)
    assert work(9000, 1000, epochs=3) == Work(1000, 3)
    assert work(9000, 1000, epochs=0.5) == Work(1000, 0.5)
    assert str(Work(1000, 1.5)) == "1,000 rows (1.5 epochs)"


@pytest.mark.parametrize(
    ("kind", "predicted", "nothing"),
    [
        ("label", ["a", "a", "a"], True),
        ("label", ["a", "b", "a"], False),
        ("entities", [(("O", "O"),), (("O",),)], True),
        ("entities", [(("O", "B-X"),), (("O",),)], False),
        ("tags", [(("NOUN", "VERB"),), (("NOUN",),)], False),
        ("value", [0.5, 0.5], True),
        ("answer", [None, None], True),
    ],
)
def test_one_answer_to_everything_is_nothing_learnt(kind: Any, predicted: list[Any], nothing: bool) -> None:
    rows = range(len(predicted))
    outcomes = Outcomes(kind, rows, [("",)] * len(rows), predicted, predicted)
    assert learnt_nothing(outcomes) is nothing
