"""Recipes: what YAML and `--set` mean, what is refused, and that a recipe survives being written."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertft.errors import UsageError
from bertft.recipe import RESERVED, Recipe, check_options, load, shipped
from bertft.recipe.values import coerce, trainer_fields


@dataclass(frozen=True)
class Options:
    decode: Literal["viterbi", "argmax"] = "viterbi"
    scheme: Literal["auto"] | Literal["BIO", "NO"] = "auto"
    window: int | None = None
    rate: float = 0.5
    lower: bool = False


def stored(folder: Path, text: str) -> str:
    path = folder / "r.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def loaded(folder: Path, text: str, *overrides: str) -> Recipe:
    return load(stored(folder, text), overrides)


def failure(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(UsageError) as caught:
        loaded(folder, text, *overrides)
    return str(caught.value)


def test_a_task_is_enough(tmp_path: Path) -> None:
    assert loaded(tmp_path, "task: ner\n") == Recipe("ner")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"),
        ("NO", "NO"),
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("1e-5", 1e-5),
        ("5E-5", 5e-5),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("010", 10),
        ("08", 8),
        ("+7", 7),
        ("0o10", 8),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2025-03-04", "2025-03-04"),
        ("0b11", "0b11"),
        ("=", "="),
        ("<<", "<<"),
        ("'1'", "1"),
        ("[no, 1]", ["no", 1]),
        ("{NO: on}", {"NO": "on"}),
    ],
)
def test_scalars_are_those_of_yaml_1_2(tmp_path: Path, written: str, value: object) -> None:
    read = loaded(tmp_path, f"task: ner\noptions:\n  x: {written}\n").options["x"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "fact"),
    [
        ("task: ner\nseed: 1\nseed: 2\n", 3, "'seed' stands twice"),
        ("task: ner\ntrainer:\n  optim: a\n  optim: b\n", 4, "'optim' stands twice"),
        ("task: &a ner\nmodel: *a\n", 2, "aliases"),
        ("task: ner\ntrainer: {\n", 3, "not valid YAML"),
        ("task: ner\n\toptions: 1\n", 2, "not valid YAML"),
        ("task: ner\n---\ntask: ner\n", 2, "not valid YAML"),
        ("task: !!python/object:os.system ner\n", 1, "not valid YAML"),
        ("task: ner\noptions: !!bool maybe\n", 2, "not valid YAML"),
        ("task: ner\noptions: !!timestamp now\n", 2, "not valid YAML"),
        ("task: ner\noptions: !!int\n", 2, "not valid YAML"),
        ("task: ner\nsede: 1\n", 2, "did you mean 'seed'?"),
        ("task: ner\nseed: one\n", 2, "'one' is not int"),
        ("task: ner\nseed: 1.5\n", 2, "1.5 is not int"),
        ("task: ner\nseed: true\n", 2, "True is not int"),
        ("task: ner\nseed: .inf\n", 2, "inf is not int"),
        ("task: ner\nseed: .nan\n", 2, "nan is not int"),
        ("task: ner\nmetrics: f1\n", 2, "'f1' is not list"),
        ("task: ner\ntrainer: fast\n", 2, "'fast' is not dict"),
        ("task: ner\ntrainer:\n  learning_rat: 1\n", 3, "did you mean 'learning_rate'?"),
        ("task: ner\ntrainer:\n  learning_rate: fast\n", 3, "'fast' is not float"),
        ("task: ner\ntrainer:\n  num_train_epochs: null\n", 3, "None is not float"),
        ("task: ner\ntrainer:\n  bf16: 1\n", 3, "1 is not bool"),
        ("task: ner\nholdout: 1.5\n", 2, "1.5 is not between 0 and 1"),
    ],
)
def test_a_mistake_is_located(tmp_path: Path, text: str, line: int, fact: str) -> None:
    message = failure(tmp_path, text)
    assert f"{tmp_path / 'r.yaml'}:{line}" in message
    assert fact in message


@pytest.mark.parametrize("text", ["- task: ner\n", "ner\n", "1: 2\n", "[a]: b\n", "? {a: b}\n: c\n", "? [a]\n: b\n"])
def test_a_recipe_is_a_mapping_of_names(tmp_path: Path, text: str) -> None:
    assert "r.yaml" in failure(tmp_path, text)


@pytest.mark.parametrize("text", ["", "# nothing\n", "seed: 1\n", "task:\n", "task: 1\n"])
def test_a_task_is_required(tmp_path: Path, text: str) -> None:
    assert "task" in failure(tmp_path, text)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    message = failure(tmp_path, "task: ner\nsede: 1\nseed: x\nholdout: half\ntrainer:\n  optimm: 1\n  output_dir: x\n")
    assert all(name in message for name in ("'sede'", "seed: 'x'", "holdout: 'half'", "trainer.optimm", "output_dir"))


@pytest.mark.parametrize("key", [*RESERVED, "push_to_hub", "push_to_hub_token", "hub_model_id", "hub_token"])
def test_a_reserved_trainer_key_says_why(tmp_path: Path, key: str) -> None:
    message = failure(tmp_path, f"task: ner\ntrainer:\n  {key}: x\n")
    assert f"trainer.{key} is reserved: " in message
    assert "r.yaml:3" in message


@pytest.mark.parametrize("section", ["options", "trainer", "columns"])
def test_a_section_with_nothing_in_it_is_empty(tmp_path: Path, section: str) -> None:
    recipe = loaded(tmp_path, f"task: ner\n{section}:\n  # nothing yet\n")
    assert getattr(recipe, section) == {}


@pytest.mark.parametrize(
    ("key", "written", "value"),
    [
        ("learning_rate", "1e-5", 1e-5),
        ("learning_rate", "1", 1.0),
        ("eval_strategy", "no", "no"),
        ("save_strategy", "epoch", "epoch"),
        ("num_train_epochs", "3", 3.0),
        ("per_device_train_batch_size", "16", 16),
        ("max_grad_norm", "0.5", 0.5),
        ("bf16", "true", True),
        ("load_best_model_at_end", "false", False),
        ("save_total_limit", "null", None),
        ("report_to", "none", "none"),
        ("report_to", "[]", []),
        ("lr_scheduler_kwargs", "{num_cycles: 2}", {"num_cycles": 2}),
        ("warmup_steps", "0.1", 0.1),
        ("optim", "adamw_torch", "adamw_torch"),
    ],
)
def test_a_trainer_value_has_the_type_of_its_field(tmp_path: Path, key: str, written: str, value: object) -> None:
    from_yaml = loaded(tmp_path, f"task: ner\ntrainer:\n  {key}: {written}\n").trainer[key]
    from_set = loaded(tmp_path, "task: ner\n", f"trainer.{key}={written}").trainer[key]
    assert from_yaml == from_set == value
    assert type(from_yaml) is type(from_set) is type(value)


@pytest.mark.parametrize(
    ("override", "name", "value"),
    [
        ("seed=7", "seed", 7),
        ("model=roberta", "model", "roberta"),
        ("model=no", "model", "no"),
        ("model=123", "model", "123"),
        ("model=a=b", "model", "a=b"),
        ("holdout=2e-1", "holdout", 0.2),
        ("early_stopping=null", "early_stopping", None),
        ("encoding=latin-1", "encoding", "latin-1"),
        ("metrics=[a, b]", "metrics", ("a", "b")),
        ("metrics=[]", "metrics", ()),
        ("options.window=null", "options", {"window": "null"}),
        ("columns.tags=4", "columns", {"tags": "4"}),
        ("columns={tags: '4'}", "columns", {"tags": "4"}),
    ],
)
def test_set_puts_a_value_in(tmp_path: Path, override: str, name: str, value: object) -> None:
    assert getattr(loaded(tmp_path, "task: ner\n", override), name) == value


def test_set_wins_over_the_recipe_and_the_last_set_wins(tmp_path: Path) -> None:
    text = "task: ner\nseed: 1\ntrainer:\n  optim: a\n"
    recipe = loaded(tmp_path, text, "seed=2", "seed=3", "trainer.optim=b", "trainer.learning_rate=1e-3")
    assert recipe.seed == 3
    assert recipe.trainer == {"optim": "b", "learning_rate": 1e-3}


def test_set_fills_a_section_that_the_recipe_leaves_empty(tmp_path: Path) -> None:
    assert loaded(tmp_path, "task: ner\ntrainer:\n", "trainer.optim=b").trainer == {"optim": "b"}


def test_a_mistake_in_set_is_not_located_in_the_file(tmp_path: Path) -> None:
    message = failure(tmp_path, "task: ner\nseed: 1\n", "seed=x")
    assert "'x' is not int" in message
    assert "r.yaml:2" not in message


@pytest.mark.parametrize(
    "override", ["seed", "=1", "", "seed.x=1", "sede=1", "trainer.learning_rat=1", "seed=1.5", "seed=inf"]
)
def test_a_set_that_means_nothing_is_refused(tmp_path: Path, override: str) -> None:
    failure(tmp_path, "task: ner\nseed: 1\n", override)


@pytest.mark.parametrize("seed", ["-1", "4294967296"])
def test_a_seed_that_no_generator_takes_is_refused(tmp_path: Path, seed: str) -> None:
    assert "seed" in failure(tmp_path, f"task: ner\nseed: {seed}\n")


def test_columns_may_be_written_as_numbers(tmp_path: Path) -> None:
    assert loaded(tmp_path, "task: ner\ncolumns:\n  tags: 4\n").columns == {"tags": "4"}


def test_metrics_that_are_no_names_are_refused(tmp_path: Path) -> None:
    assert "metrics" in failure(tmp_path, "task: ner\nmetrics: [{a: 1}]\n")


def test_a_missing_recipe_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the recipe") as caught:
        load(str(tmp_path / "none.yaml"))
    assert "none.yaml" in str(caught.value)


def test_a_recipe_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes(b"\xff\xfe\0")
    with pytest.raises(UsageError, match="UTF-8"):
        load(str(tmp_path / "r.yaml"))


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        load("nerr")
    assert "did you mean 'ner'?" in str(caught.value)


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_recipe_loads(name: str) -> None:
    recipe = load(name)
    assert recipe.task
    assert load(name, ["seed=99"]).seed == 99


def test_the_task_ner_is_its_default_recipe() -> None:
    assert load("ner").task == "ner"


YAML = [
    *"task: ner\n\t-[]{}?!&*|>'\"%#,.0123eExo=<~é\u2028\x85\x07",
    *("\n  ", ": ", "!!int ", "!!bool ", "!!timestamp ", "!!null ", "task: ner\n", "trainer:\n", "options:\n"),
]
ODD = ["no", "NO", "null", "~", "", "1e-5", "010", "0o7", "1_0", ".inf", "2025-01-01", "=", "<<", "- a", "a: b", "true"]
TEXT = st.text(max_size=8) | st.sampled_from(ODD)


@settings(max_examples=150)
@given(text=st.lists(st.sampled_from(YAML), max_size=30).map("".join))
def test_any_text_is_a_recipe_or_a_usage_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    try:
        recipe = load(str(path))
    except UsageError:
        return
    assert isinstance(recipe.task, str)


SCALAR: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2), max_leaves=5
)
RECIPES = st.builds(
    Recipe,
    task=TEXT,
    model=TEXT,
    seed=st.integers(0, 2**32 - 1),
    holdout=st.floats(0.01, 0.99),
    early_stopping=st.none() | st.integers(0, 99),
    metrics=st.lists(TEXT, max_size=3).map(tuple),
    columns=st.dictionaries(TEXT, TEXT, max_size=3),
    encoding=st.none() | TEXT.filter(lambda text: text not in ("null", "~")),
    options=st.dictionaries(TEXT, VALUE, max_size=3),
    trainer=st.fixed_dictionaries(
        {},
        optional={
            "learning_rate": st.floats(0, 1),
            "optim": TEXT,
            "bf16": st.booleans(),
            "lr_scheduler_kwargs": st.dictionaries(TEXT, VALUE, max_size=2),
        },
    ),
)


@settings(max_examples=60)
@given(recipe=RECIPES)
def test_a_written_recipe_reads_back_equal(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> None:
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    path.write_bytes(recipe.to_yaml().encode("utf-8"))
    assert load(str(path)) == recipe


def test_options_get_their_defaults() -> None:
    recipe = check_options(Recipe("ner", options={"window": 128}), Options)
    assert recipe.options == {"decode": "viterbi", "scheme": "auto", "window": 128, "rate": 0.5, "lower": False}


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("decode", "argmax", "argmax"),
        ("scheme", "NO", "NO"),
        ("window", "null", None),
        ("window", "128", 128),
        ("window", 128, 128),
        ("rate", "1e-3", 1e-3),
        ("rate", 1, 1.0),
        ("lower", "true", True),
        ("lower", "False", False),
        ("lower", True, True),
    ],
)
def test_an_option_has_the_type_of_its_field(name: str, written: object, value: object) -> None:
    read = check_options(Recipe("ner", options={name: written}), Options).options[name]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "written", "fact"),
    [
        ("decode", "greedy", "'greedy' is not viterbi | argmax"),
        ("window", "wide", "'wide' is not int or null"),
        ("window", 1.5, "1.5 is not int or null"),
        ("window", float("inf"), "inf is not int or null"),
        ("rate", "nan", "'nan' is not float"),
        ("lower", "no", "'no' is not bool"),
        ("lower", 1, "1 is not bool"),
        ("windw", 1, "did you mean 'window'?"),
    ],
)
def test_a_wrong_option_is_refused(name: str, written: object, fact: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_options(Recipe("ner", options={name: written}), Options)
    assert f"options.{name}" in str(caught.value)
    assert fact in str(caught.value)


def test_all_wrong_options_are_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        check_options(Recipe("ner", options={"decode": "x", "windw": 1, "rate": "y"}), Options)
    assert all(f"options.{name}" in str(caught.value) for name in ("decode", "windw", "rate"))


@pytest.mark.parametrize("number", [2**53 + 1, -(2**63), 10**30])
def test_a_whole_number_keeps_all_of_its_digits(number: int) -> None:
    assert coerce(number, int) == number
    assert coerce(str(number), int) == number


def test_the_trainer_fields_are_those_of_transformers() -> None:
    from transformers import TrainingArguments

    assert set(trainer_fields()) == {field.name for field in dataclasses.fields(TrainingArguments)}


@pytest.mark.parametrize(
    "line",
    [
        *("seed: 0x" + "f" * 5000, "holdout: 1" + "0" * 400, "early_stopping: 1" + "0" * 400, "x: " + "[" * 2000),
        *("options: {window: 1" + "0" * 5000 + "}", "trainer: {max_steps: 1" + "0" * 400 + "}", "#" * 2**20),
    ],
)
def test_numbers_lists_and_files_that_are_too_long_are_refused(tmp_path: Path, line: str) -> None:
    assert len(failure(tmp_path, f"task: ner\n{line}\n")) < 3000


@pytest.mark.parametrize("override", ["metrics=" + "[" * 2000, "seed=" + "9" * 5000, "batch_tokens=0x" + "f" * 5000])
def test_overrides_that_are_too_long_are_refused(tmp_path: Path, override: str) -> None:
    assert len(failure(tmp_path, "task: ner\n", override)) < 3000
