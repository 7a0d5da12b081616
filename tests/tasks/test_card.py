"""A model card: metadata that the Hub reads, figures that are those of metrics.json, and programs that run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Trained
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from bertft.bundle import card, limits, metadata
from bertft.encoders.load import Checkpoint, resolve
from bertft.recipe import Recipe
from bertft.tasks import task_class
from bertft.tasks.base import WindowSize
from bertft.tasks.target import Target

SINGLE, MULTI = "single_label_classification", "multi_label_classification"
TAGS = {"labels": ["O", "B-PER", "I-PER"], "style": {"scheme": "BIO", "order": "prefix", "separator": "-"}}
STATES: dict[str, tuple[str, dict[str, Any]]] = {
    "classify": ("classify", Target(SINGLE, ("no", "yes")).state()),
    "multilabel": ("classify", Target(MULTI, ("a", "b", "c"), "|", None, (0.5, 0.5, 0.5)).state()),
    "regress": ("classify", Target("regression", ("value",)).state()),
    "pair": ("pair", Target(SINGLE, ("no", "yes")).state()),
    "ner": ("ner", TAGS),
    "qa": ("qa", {"null": True, "no_answer_threshold": 0.5}),
}
SCORES: dict[str, Any] = {
    "accuracy": 0.75,
    "macro_f1": 0.7,
    "support": 40,
    "per_label": {
        "no": {"precision": 0.8, "recall": 0.8, "f1": 0.8, "support": 37},
        "yes": {"precision": 0.6, "recall": 0.6, "f1": 0.6, "support": 3},
    },
    "intervals": {"accuracy": [0.6, 0.9], "macro_f1": [0.5, 0.8]},
    "bootstrap": {"samples": 1000, "unit": "text", "units": 40, "level": 0.95, "seed": 0},
}


def task_of(name: str) -> Any:
    kind, state = STATES[name]
    return task_class(kind).restore({}, state)


def rendered(
    name: str = "classify",
    *,
    metrics: dict[str, Any] | None = None,
    path: str = "/home/alice/data/train.csv",
    checkpoint: Checkpoint | None = None,
    details: dict[str, Any] | None = None,
    trainer: dict[str, Any] | None = None,
) -> str:
    task = task_of(name)
    info = {"path": path, "sha256": "ab" * 32, "rows": 40}
    found = {"test": SCORES} if metrics is None and name == "classify" else metrics or {}
    return card.render(
        Recipe(task.name, trainer={"learning_rate": 1e-4, **(trainer or {})}),
        task,
        found,
        {"train": info, "test": info},
        checkpoint=checkpoint or resolve("embedded"),
        window=WindowSize(128, 32),
        computed={"precision": "fp32", "device": "cpu"},
        details=details or {},
    )


def front(text: str) -> dict[str, Any]:
    return dict(yaml.safe_load(text.removeprefix("---\n").partition("\n---\n")[0]))


def is_valid(index: Any) -> bool:
    """Say whether a model-index has the form that the Hub asks for (hub-docs, modelcard.md)."""
    return all(
        isinstance(model["name"], str)
        and all(
            {*result} <= {"task", "dataset", "metrics", "source"}
            and isinstance(result["task"]["type"], str)
            and {*result["dataset"]} <= {"type", "name", "config", "split", "revision", "args"}
            and all(result["dataset"][key] and isinstance(result["dataset"][key], str) for key in ("type", "name"))
            and all(
                {*metric} <= {"type", "value", "name", "config", "args"}
                and isinstance(metric["type"], str)
                and isinstance(metric["value"], float)
                and isinstance(metric.get("args", {}), dict)
                for metric in result["metrics"]
            )
            for result in model["results"]
        )
        for model in index
    )


# -- metadata ----------------------------------------------------------------------------------------------------------


def test_the_metadata_are_those_that_the_hub_reads_and_come_back_equal() -> None:
    text = rendered()
    read = ModelCard(text).data
    assert read.pipeline_tag == "text-classification"
    assert read.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert (read.license, read.language, read.library_name) == ("apache-2.0", "en", "transformers")
    index = front(text)["model-index"]
    assert is_valid(index)
    assert eval_results_to_model_index(*model_index_to_eval_results(index)) == index
    accuracy, f1 = read.eval_results or ()
    assert (accuracy.metric_type, accuracy.metric_value, accuracy.dataset_split) == ("accuracy", 0.75, "test")
    assert (accuracy.metric_args or {})["interval"] == [0.6, 0.9]
    assert (accuracy.dataset_args or {})["sha256"] == "ab" * 32
    assert (f1.metric_type, f1.metric_name, (f1.metric_args or {})["average"]) == ("f1", "macro_f1", "macro")


@pytest.mark.parametrize(
    ("name", "pipeline"),
    [("ner", "token-classification"), ("qa", "question-answering"), ("pair", "text-classification")],
)
def test_a_pipeline_tag_names_what_the_model_does(name: str, pipeline: str) -> None:
    values = front(rendered(name))
    assert values["pipeline_tag"] == pipeline
    assert "model-index" not in values


def test_a_figure_that_is_no_number_is_left_out() -> None:
    scores = {**SCORES, "accuracy": float("nan"), "intervals": {}}
    (result,) = front(rendered(metrics={"test": scores}))["model-index"][0]["results"]
    assert [metric["name"] for metric in result["metrics"]] == ["macro_f1"]


def test_data_of_the_hub_are_named_and_files_are_not() -> None:
    assert "datasets" not in front(rendered())
    values = front(rendered(path="hub:owner/reviews:small:train"))
    assert values["datasets"] == ["owner/reviews"]
    assert values["model-index"][0]["results"][0]["dataset"]["type"] == "owner/reviews"


def test_no_folder_no_account_and_no_setting_that_may_hold_one(tmp_path: Path) -> None:
    secret = "hf_CANARYcanaryCANARYcanaryCANARY01"
    local = tmp_path / "alice" / "my-encoder"
    local.mkdir(parents=True)
    settings = {"run_name": secret, "logging_dir": "/home/alice/logs", "hub_token": secret}
    text = rendered(checkpoint=Checkpoint(str(local), str(local), True), trainer=settings)
    assert "alice" not in text
    assert secret not in text
    assert "`my-encoder`" in text
    assert "`train.csv`" in text
    assert "base_model" not in front(text)


@pytest.mark.parametrize(
    ("own", "licence", "language"),
    [
        ("license: mit\nlanguage: [de]", "mit", "de"),
        ("license: cc-by-4.0\nlanguage: [de, fr]", "cc-by-4.0", None),
        ("language: multilingual", None, None),
        ("license: [mit]\nlanguage: {a: b}", None, None),
        ('license: "a\\n---\\n<script>"', None, None),
        ("- no object", None, None),
        (":\n  - [", None, None),
    ],
)
def test_licence_and_language_are_those_of_the_encoders_own_card(
    own: str, licence: str | None, language: str | None, tmp_path: Path
) -> None:
    (tmp_path / "README.md").write_text(f"---\n{own}\n---\n# x\n")
    base = metadata.base(Checkpoint(str(tmp_path), str(tmp_path), True))
    assert (base.licence, base.language, base.hub_id) == (licence, language, None)


def test_a_listed_encoder_is_known_by_any_of_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("bert-base-cased", "google-bert/bert-base-cased"):
        base = metadata.base(Checkpoint(name, name, False))
        assert (base.hub_id, base.licence, base.language) == ("google-bert/bert-base-cased", "apache-2.0", "en")
    assert metadata.base(Checkpoint("mbert", "mbert", False)).language is None
    other = metadata.base(Checkpoint("owner/name", "owner/name", False))
    assert (other.hub_id, other.licence) == ("owner/name", None)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert metadata.base(Checkpoint("owner/name", "owner/name", True)).hub_id is None


# -- figures -----------------------------------------------------------------------------------------------------------


def test_the_figures_are_those_of_the_metrics(trained: Callable[[str], Trained]) -> None:
    directory = trained("bert-uncased").directory
    metrics = json.loads((directory / "metrics.json").read_text())
    read = ModelCard.load(directory / "README.md")
    results = {(one.dataset_split, one.metric_name): one for one in read.data.eval_results or ()}
    assert {split for split, _ in results} == {"dev", "test"}
    for (split, key), one in results.items():
        assert one.metric_value == metrics[split][key]
        assert (one.metric_args or {}).get("interval") == metrics[split]["intervals"].get(key)
    manifest = json.loads((directory / "bertft.json").read_text())
    for info in manifest["data"].values():
        assert info["sha256"] in read.text
        assert info["path"] not in read.text
    assert f"off by {100 * metrics['test']['calibration']['ece']:.1f} points on test" in read.text
    for label, figures in metrics["test"]["per_label"].items():
        assert re.search(rf"\| `{label}` \| .* \| {figures['support']} \|", read.text)


def test_a_model_that_was_measured_on_nothing_says_so() -> None:
    text = rendered("ner")
    assert "It was measured on nothing" in text
    assert "## Limits" not in text


def test_a_thousand_labels_do_not_make_a_thousand_lines() -> None:
    label = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 1}
    text = rendered(metrics={"test": {**SCORES, "per_label": {f"l{i}": label for i in range(1000)}}})
    assert "`metrics.json` has the other 900" in text
    assert len(text.splitlines()) < 250


def test_rows_that_were_cross_validated_are_said_to_be() -> None:
    text = rendered(metrics={"dev": SCORES})
    assert "each was scored by a model of its fold" in text
    assert is_valid(front(text)["model-index"])
    assert "no test set" not in rendered()


# -- limits ------------------------------------------------------------------------------------------------------------


def found(scores: dict[str, Any], key: str = "accuracy") -> str:
    return "\n".join(limits.sentences("test", scores, key=key, name=lambda label: f"<{label}>"))


def test_labels_with_few_rows_and_wide_intervals_are_limits() -> None:
    said = found(SCORES)
    assert "1 of 2 labels occur fewer than 20 times in test" in said
    assert "<yes> 3" in said
    assert "accuracy may be anything from 60.0 to 90.0: it was measured on 40 texts of test." in said


def test_a_good_model_on_many_rows_has_none() -> None:
    label = {"precision": 0.9, "recall": 0.9, "f1": 0.9, "support": 900}
    part = {"rows": 900, "accuracy": 0.9, "intervals": {"accuracy": [0.88, 0.92]}}
    scores = {
        **SCORES,
        "accuracy": 0.9,
        "per_label": {"a": label, "b": label},
        "intervals": {"accuracy": [0.89, 0.91]},
        "breakdown": {"length": [{**part, "words": [1, 9]}], "windowed": [{**part, "is": "yes"}]},
    }
    assert found(scores) == ""


def test_the_weakest_of_the_frequent_labels_is_named() -> None:
    one = {"precision": 0.9, "recall": 0.9, "f1": 0.9, "support": 50}
    said = found({"accuracy": 0.9, "per_label": {"a": one, "b": one, "c": {**one, "f1": 0.3, "support": 25}}})
    assert (
        said == "The weakest label is <c>: F1 30.0, of 25 occurrences; the mean of labels that occur 20 times is 70.0."
    )


@pytest.mark.parametrize(
    ("kind", "part", "said"),
    [
        ("length", {"words": [30, 80]}, "on rows of 30 to 80 words (50 rows)"),
        ("length", {"words": [30, 30]}, "on rows of 30 words (50 rows)"),
        ("windowed", {"is": "yes"}, "on rows longer than a window (50 rows)"),
        ("seen_in_train", {"is": "no", "entities": 7}, "on entities that the training data has not (7)"),
        ("question_word", {"is": "why"}, "on questions that ask <why> (50 rows)"),
        ("answerable", {"is": "no"}, "on questions that have none (50 rows)"),
    ],
)
def test_a_part_that_is_worse_than_the_whole_is_named(kind: str, part: dict[str, Any], said: str) -> None:
    worse = {**part, "rows": 50, "accuracy": 0.5, "intervals": {"accuracy": [0.4, 0.6]}}
    (line,) = found({"accuracy": 0.9, "breakdown": {kind: [worse]}}).splitlines()
    assert line == f"accuracy is 50.0 (40.0 to 60.0) {said}; on all rows 90.0."
    unsure = {**worse, "intervals": {"accuracy": [0.4, 0.95]}}
    assert found({"accuracy": 0.9, "breakdown": {kind: [unsure]}}) == ""


def test_the_card_has_what_the_details_show() -> None:
    part = {"words": [30, 80], "rows": 50, "accuracy": 0.5, "intervals": {"accuracy": [0.4, 0.6]}}
    _, _, said = rendered(details={"breakdown": {"length": [part]}}).partition("## Limits")
    assert "- accuracy is 50.0 (40.0 to 60.0) on rows of 30 to 80 words (50 rows); on all rows 75.0." in said


def test_of_an_error_more_is_worse() -> None:
    part = {"words": [1, 9], "rows": 50, "rmse": 2.0, "intervals": {"rmse": [1.5, 2.5]}}
    assert found({"rmse": 1.0, "breakdown": {"length": [part]}}, "rmse").startswith("rmse is 2 (1.5 to 2.5)")
    assert found({"rmse": 3.0, "breakdown": {"length": [part]}}, "rmse") == ""


# -- programs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STATES)
def test_the_program_in_the_card_runs_without_bertft(
    name: str,
    base: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import transformers

    task, source = task_of(name), base("bert-uncased")
    head = task.head()
    names = dict(enumerate(head.labels)) if head.labels else None
    settings = {"id2label": names, "problem_type": head.problem_type} if names else {}
    getattr(transformers, head.architecture).from_pretrained(source, **settings).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(tmp_path)
    code = re.search(r"```python\n(.*?)```", rendered(name), re.DOTALL)
    assert code is not None
    assert "bertft" not in code[1]
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    exec(compile(code[1], "card", "exec"), {})
    printed = capsys.readouterr().out.strip()
    expected = {
        "classify": "no|yes",
        "pair": "no|yes",
        "multilabel": r"\{'a': [\d.]+, 'b': [\d.]+, 'c': [\d.]+\}",
        "regress": r"-?[\d.]+",
        "ner": r"\[('(O|[BI]-PER)'(, )?)+\]",
        "qa": ".*",
    }
    assert re.fullmatch(expected[name], printed), printed


def test_a_pooled_head_has_no_program_that_would_answer_otherwise() -> None:
    task = task_class("classify").restore({"pooling": "mean"}, STATES["classify"][1])
    assert task.head().pooling == "mean"
    assert not [part for part in card._plain(task) if "```" in part]
