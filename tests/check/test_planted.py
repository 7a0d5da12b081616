"""Every kind of fault, planted into data that is clean: it is found, under its code, where it stands."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertft.check.codes import CODES
from bertft.check.findings import Finding, Part, Record
from bertft.check.leaks import check_leaks
from bertft.data.row import Place
from bertft.recipe import load
from bertft.training.checks import check

WORDS: list[str] = re.findall(
    r"\w+",
    """river stone window garden market winter doctor letter bridge music silver teacher forest engine butter
travel history morning kitchen captain answer island coffee summer paper animal station picture mountain question
orange planet village dinner secret number shadow minute camera pocket ticket farmer glass street college army
hospital record signal castle weather magic finger corner energy uncle bottle golden simple modern quiet narrow""",
)
MANY = 120

Edit = Callable[[list[Any]], None]


def sentences(count: int, seed: int, words: int = 9) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.sample(WORDS, words)) for _ in range(count)]


def table(count: int = MANY, seed: int = 1) -> list[list[str]]:
    return [[text, ("good", "bad")[i % 2]] for i, text in enumerate(sentences(count, seed))]


def pairs(count: int = MANY, seed: int = 1) -> list[list[str]]:
    texts = sentences(2 * count, seed)
    return [[texts[i], texts[count + i], ("yes", "no")[i % 2]] for i in range(count)]


def objects(count: int = MANY, seed: int = 1) -> list[dict[str, str]]:
    return [{"text": text, "label": label} for text, label in table(count, seed)]


def values(count: int = MANY, seed: int = 1) -> list[list[str]]:
    return [[text, str(i % 37 / 4)] for i, (text, _) in enumerate(table(count, seed))]


def tagged(count: int = MANY, seed: int = 1) -> list[list[list[str]]]:
    """Sentences of [word, tag]: each has one person and one place, the second in two words."""
    made = []
    for i, text in enumerate(sentences(count, seed)):
        words = [[word, "O"] for word in text.split()]
        words[2] = [("Maria", "Peter", "Anna", "Paul")[i % 4], "B-PER"]
        words[5:7] = [[("New", "Old")[i % 2], "B-LOC"], [("York", "Delhi", "Town")[i % 3], "I-LOC"]]
        made.append(words)
    return made


def spans(count: int = MANY, seed: int = 1) -> list[dict[str, Any]]:
    rows = []
    for text in sentences(count, seed):
        end = text.index(" ")
        rows.append({"text": text, "entities": [{"start": 0, "end": end, "label": "THING"}]})
    return rows


def questions(count: int = MANY, seed: int = 1) -> list[dict[str, Any]]:
    rows = []
    for i, (question, context) in enumerate(
        zip(sentences(count, seed, 6), sentences(count, seed + 50, 20), strict=True)
    ):
        word = context.split()[3]
        answers = {"text": [word], "answer_start": [context.index(f" {word} ") + 1]}
        rows.append({"id": f"q{i}", "question": question, "context": context, "answers": answers})
    return rows


def csv_of(rows: list[list[str]]) -> str:
    header = ("text,label",) if len(rows[0]) == 2 else ("text_a,text_b,label",)
    return "\n".join([*header, *(",".join(f'"{cell}"' for cell in row) for row in rows)]) + "\n"


def conll_of(rows: list[list[list[str]]]) -> str:
    return "\n".join("".join(f"{word}\t{tag}\n" for word, tag in row) for row in rows)


def jsonl_of(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


KINDS: dict[str, tuple[str, Callable[..., list[Any]], Callable[[Any], str], str]] = {
    "classify": ("classify", table, csv_of, "csv"),
    "rows": ("classify", objects, jsonl_of, "jsonl"),
    "regress": ("regress", values, csv_of, "csv"),
    "nli": ("nli", pairs, csv_of, "csv"),
    "ner": ("ner", tagged, conll_of, "conll"),
    "spans": ("ner", spans, jsonl_of, "jsonl"),
    "qa": ("qa", questions, jsonl_of, "jsonl"),
}  # fmt: skip


def run(folder: Path, kind: str, train: Any, dev: Any = None, *settings: str) -> list[Finding]:
    recipe, _, write, suffix = KINDS[kind]
    paths = {}
    for name, rows in (("train", train), ("dev", dev)):
        if rows is not None:
            paths[name] = folder / f"{name}.{suffix}"
            paths[name].write_bytes(rows if isinstance(rows, bytes) else write(rows).encode("utf-8", "surrogatepass"))
    return check(load(recipe, settings), data=str(paths["train"]), dev=str(paths["dev"]) if dev is not None else None)


def found(findings: list[Finding], code: str) -> list[tuple[str, int]]:
    return [(Path(one.path).name, one.line) for one in findings if one.code == code]


def put(row: int, column: Any, value: Any) -> Edit:
    def edit(rows: list[Any]) -> None:
        rows[row][column] = value

    return edit


def swap(rows: list[Any]) -> None:
    labels = ["fine", "poor", "so so"]
    for i, row in enumerate(rows):
        row[:] = [labels[i % 3], f"{row[0]} and more"]


def relabel(value: Callable[[int], str]) -> Edit:
    def edit(rows: list[Any]) -> None:
        for i, row in enumerate(rows):
            row[-1] = value(i)

    return edit


def in_text(row: int, piece: str) -> Edit:
    def edit(rows: list[Any]) -> None:
        rows[row][0] = rows[row][0].replace(" ", f" {piece} ", 1)

    return edit


def retype(form: str, row: int) -> Edit:
    def edit(rows: list[Any]) -> None:
        for i, words in enumerate(rows):
            words[2] = [form, "B-LOC" if i == row else "B-PER"]

    return edit


def untag(rows: list[Any]) -> None:
    for i, words in enumerate(rows):
        words[2] = ["Maria", "O" if i == 4 else "B-PER"]


def copy(source: int, target: int, **change: Any) -> Edit:
    def edit(rows: list[Any]) -> None:
        rows[target] = {**rows[source], **change} if isinstance(rows[source], dict) else list(rows[source])

    return edit


def both(*edits: Edit) -> Edit:
    def edit(rows: list[Any]) -> None:
        for one in edits:
            one(rows)

    return edit


def long_answer(rows: list[Any]) -> None:
    text = " ".join(WORDS[:45])
    rows[6].update(context=text, answers={"text": [" ".join(WORDS[:40])], "answer_start": [0]})


def cut_answer(rows: list[Any]) -> None:
    rows[6]["answers"] = {"text": [rows[6]["context"][:2]], "answer_start": [0]}


def without_entities(rows: list[Any]) -> None:
    for row in rows:
        for word in row:
            word[1] = "O"


def without_answers(rows: list[Any]) -> None:
    for row in rows:
        row["answers"] = []


def line(row: int) -> int:
    """The line of a row of a table, whose first one is the header."""
    return row + 2


def token(row: int, word: int) -> int:
    """The line of a word of a column file of sentences of nine words, a blank line behind each."""
    return 10 * row + word + 1


IN_TRAIN = [
    ("label-rare", "classify", put(7, 1, "odd"), line(7)),
    ("label-typo", "classify", put(7, 1, "Good"), line(7)),
    ("label-single", "classify", relabel(lambda i: "good"), line(0)),
    ("label-imbalance", "classify", relabel(lambda i: "bad" if i in (3, 50, 99) else "good"), 0),
    ("label-swapped", "classify", swap, line(0)),
    ("label-many", "classify", relabel(lambda i: f"id {i} of {WORDS[i % 60]}"), line(0)),
    ("label-empty", "classify", put(7, 1, ""), line(7)),
    ("label-number", "regress", put(7, 1, "four"), line(7)),
    ("leak-within", "classify", both(*(copy(0, i) for i in range(2, 34, 2))), line(2)),
    ("conflict-label", "classify", both(copy(0, 9), put(9, 1, "bad")), line(9)),
    ("scheme-invalid", "ner", both(put(3, 5, ["New", "O"])), token(3, 6)),
    ("scheme-type", "ner", retype("Georgia", 5), token(5, 2)),
    ("scheme-untagged", "ner", untag, token(4, 2)),
    ("scheme-nothing", "ner", without_entities, 1),
    ("scheme-row", "ner", put(3, 4, ["a\tb", "O"]), token(3, 4)),
    ("scheme-space", "spans", lambda rows: rows[6]["entities"][0].update(end=rows[6]["entities"][0]["end"] + 1), 7),
    ("scheme-cut", "spans", lambda rows: rows[6]["entities"][0].update(end=2), 7),
    ("scheme-overlap", "spans", lambda rows: rows[6]["entities"].append({"start": 0, "end": 3, "label": "X"}), 7),
    ("scheme-row", "spans", put(6, "entities", [{"start": 5, "end": 2, "label": "X"}]), 7),
    ("qa-offset", "qa", lambda rows: rows[6]["answers"].update(answer_start=[0]), 7),
    ("qa-lost", "qa", lambda rows: rows[6]["answers"].update(text=["nowhere at all"]), 7),
    ("qa-row", "qa", put(6, "answers", {"text": [3], "answer_start": [1]}), 7),
    ("qa-contrary", "qa", put(6, "is_impossible", True), 7),
    ("qa-share", "qa", lambda rows: without_answers(rows[10:]), 0),
    ("qa-duplicate", "qa", both(*(copy(0, i, id=f"again{i}") for i in (8, 9))), 9),
    ("qa-edge", "qa", cut_answer, 7),
    ("qa-long", "qa", long_answer, 7),
    ("text-empty", "classify", put(7, 0, "  "), line(7)),
    ("text-html", "classify", both(in_text(7, "<br/>"), in_text(9, "&amp;")), line(7)),
    ("text-mojibake", "classify", both(in_text(7, "cafÃ©"), in_text(9, "itâ€™s")), line(7)),
    ("text-replaced", "classify", both(in_text(7, "caf\ufffd"), in_text(9, "\ufffd")), line(7)),
    ("text-control", "classify", both(in_text(7, "a\u202eb"), in_text(9, "a\x07b")), line(7)),
    ("text-unreadable", "qa", put(6, "context", None), 7),
    ("label-missing", "rows", put(6, "label", None), 7),
    ("model-windowed", "classify", put(7, 0, "river stone " * 400), line(7)),
    ("model-cut", "nli", put(7, 0, "river stone " * 400), line(7)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "kind", "plant", "at"), IN_TRAIN, ids=[f"{code}-{kind}" for code, kind, *_ in IN_TRAIN]
)
def test_a_fault_in_train_is_found_where_it_is(code: str, kind: str, plant: Edit, at: int, tmp_path: Path) -> None:
    rows = KINDS[kind][1]()
    plant(rows)
    assert ("train." + KINDS[kind][3], at) in found(run(tmp_path, kind, rows), code)


def near(rows: list[Any]) -> list[Any]:
    return [[f"{rows[i][0]} indeed", rows[i][1]] for i in range(8)]


def in_dev(at: int, *rows: list[Any]) -> Edit:
    def edit(dev: list[Any]) -> None:
        dev[at : at + len(rows)] = rows

    return edit


def share_contexts(train: list[Any], dev: list[Any]) -> None:
    for i in range(4, 9):
        dev[i].update(context=train[i]["context"], answers=train[i]["answers"])


def as_iobes(train: list[Any], dev: list[Any]) -> None:
    for row in dev:
        for word in row:
            word[1] = word[1].replace("B-PER", "S-PER").replace("I-LOC", "E-LOC")


def same_label(train: list[Any], dev: list[Any]) -> None:
    relabel(lambda i: "good")(dev)


def other_label(train: list[Any], dev: list[Any]) -> None:
    dev[4:8] = [[text, "good"] for text, _ in train[:4]]


IN_DEV = [
    ("label-unseen", "classify", lambda train, dev: dev[4].__setitem__(1, "goood"), line(4)),
    ("label-shift", "classify", same_label, 0),
    ("leak-same", "classify", lambda train, dev: in_dev(0, *train)(dev), line(0)),
    ("leak-exact", "classify", lambda train, dev: in_dev(4, *train[:5])(dev), line(4)),
    ("leak-near", "classify", lambda train, dev: in_dev(4, *near(train))(dev), line(4)),
    ("conflict-split", "classify", other_label, line(5)),
    ("leak-context", "qa", share_contexts, 5),
    ("qa-share", "qa", lambda train, dev: without_answers(dev[:40]), 0),
    ("scheme-mixed", "ner", as_iobes, 0),
    ("label-unseen", "ner", lambda train, dev: dev[3][2].__setitem__(1, "B-PRE"), token(3, 0)),
]  # fmt: skip


@pytest.mark.parametrize(("code", "kind", "plant", "at"), IN_DEV, ids=[f"{code}-{kind}" for code, kind, *_ in IN_DEV])
def test_a_fault_between_files_is_found_in_dev(
    code: str, kind: str, plant: Callable[..., object], at: int, tmp_path: Path
) -> None:
    make, size = KINDS[kind][1], 240 if code == "label-shift" else MANY
    train, dev = make(size, seed=1), make(size, seed=2)
    plant(train, dev)
    assert ("dev." + KINDS[kind][3], at) in found(run(tmp_path, kind, train, dev), code)


def test_a_finding_in_one_file_says_no_entity_and_calls_no_file_train() -> None:
    text, tagged, plain = "the text of a row", ("O", "B-loc"), ("O", "O")
    entities = [(tagged, ("loc",)), (plain, ()), (plain, ())]
    sets = [(("a",), ("a",)), ((), ())]
    for rows, nothing in ((entities, "no entity"), (sets, "no label")):
        records = [Record(Place("x.conll", i), text, gold, labels) for i, (gold, labels) in enumerate(rows)]
        messages = [one.message for one in check_leaks([Part("train", "x.conll", records)], near=False)]
        assert any(f"with {rows[0][1][0]!r}, here with {nothing}: 'the text" in message for message in messages)
        assert not any("train" in message for message in messages)


SETTINGS = [
    ("train-rate", ["trainer.learning_rate=0.05"], {}),
    ("train-rate", ["trainer.learning_rate=1e-7"], {}),
    ("train-epochs", ["trainer.num_train_epochs=90"], {}),
    ("train-steps", ["trainer.max_steps=5"], {}),
    ("train-batch", ["trainer.per_device_train_batch_size=1024"], {}),
    ("train-warmup", ["trainer.warmup_steps=100000"], {}),
    ("train-few", [], {"count": 15}),
    ("train-cost", [], {}),
]


@pytest.mark.parametrize(("code", "settings", "size"), SETTINGS, ids=[" ".join([c, *s]) for c, s, _ in SETTINGS])
def test_a_setting_out_of_the_ordinary_is_found(
    code: str, settings: list[str], size: dict[str, int], tmp_path: Path
) -> None:
    assert found(run(tmp_path, "classify", table(**size), None, *settings), code)


def test_a_script_that_the_model_has_not_is_found_with_a_model_that_has(tmp_path: Path) -> None:
    letters = "తెలుగుభాషచాలాఅందంగాఉంటుందినేనుప్రతిఉదయంపుస్తకాలుచదువుతాను"
    draw = random.Random(3)
    rows = [[" ".join("".join(draw.choices(letters, k=6)) for _ in range(9)), ("a", "b")[i % 2]] for i in range(MANY)]
    (one,) = [one for one in run(tmp_path, "classify", rows) if one.code == "model-script"]
    assert "Telugu" in one.message
    assert "muril" in one.fix


def test_a_language_that_the_model_has_not_is_found(tmp_path: Path) -> None:
    draw = random.Random(3)
    rows = [
        [" ".join("".join(draw.choices("aeiouäöykltnsrjv", k=11)) for _ in range(9)), ("a", "b")[i % 2]]
        for i in range(MANY)
    ]
    assert found(run(tmp_path, "classify", rows), "model-pieces") == [("train.csv", 0)]


def test_signs_that_the_model_does_not_know_are_found(tmp_path: Path) -> None:
    rows = [[f"{text} {'𓀀 𓀁 ' * 5}", label] for text, label in table()]
    assert found(run(tmp_path, "classify", rows), "model-unknown") == [("train.csv", 0)]


def test_a_model_that_lower_cases_names_is_found(tmp_path: Path) -> None:
    assert found(run(tmp_path, "ner", tagged()), "model-case") == [("train.conll", 0)]


def test_words_that_vanish_are_found(tmp_path: Path) -> None:
    rows = tagged()
    rows[3][7][0] = "\u200d"
    assert found(run(tmp_path, "ner", rows), "model-vanished") == [("train.conll", 0)]


def test_a_line_of_another_encoding_is_found(tmp_path: Path) -> None:
    text = csv_of(table()).encode()
    first, *rest = text.split(b"\n")
    rest[5] = rest[5].replace(b"e", b"\xe9", 1)
    findings = run(tmp_path, "classify", b"\n".join([first, *rest]))
    assert found(findings, "text-encoding") == [("train.csv", 7)]


def test_a_very_long_entity_is_found(tmp_path: Path) -> None:
    rows = tagged()
    rows[3] = [*rows[3][:2], ["Maria", "B-PER"], *([word, "I-PER"] for word in WORDS[:25])]
    assert found(run(tmp_path, "ner", rows), "scheme-long") == [("train.conll", token(3, 2))]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_wrong_with_clean_data(kind: str, tmp_path: Path) -> None:
    make = KINDS[kind][1]
    findings = run(tmp_path, kind, make(seed=1), make(seed=2))
    assert [one for one in findings if one.severity != "note"] == []


def test_a_corpus_of_one_document_lends_no_second_texts(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("\n\n" + "\n".join(sentences(1, seed=1)) + "\n", encoding="utf-8")
    found = check(load("mlm", ["options.objective=mlm+nsp"]), data=str(path))
    assert [one.code for one in found if one.severity == "error"] == ["text-document"]
    path.write_text("\n\n".join("\n".join(sentences(9, seed=seed)) for seed in (1, 2)), encoding="utf-8")
    found = check(load("mlm", ["options.objective=mlm+nsp"]), data=str(path))
    assert [one for one in found if one.severity == "error"] == []


def test_every_code_is_planted() -> None:
    own = Path(__file__).read_text(encoding="utf-8")
    assert [code for code in CODES if f'"{code}"' not in own] == []


def test_all_bad_rows_are_named_up_to_a_bound_and_counted(tmp_path: Path) -> None:
    rows = spans()
    for row in rows[:30]:
        row["entities"] = [{"start": 5, "end": 2, "label": "X"}]
    bad = [one for one in run(tmp_path, "spans", rows) if one.code == "scheme-row"]
    assert [one.line for one in bad] == [*range(1, 21)]
    assert "30 such findings in all" in bad[-1].message
    assert all(one.severity == "error" for one in bad)


def test_texts_with_spans_can_be_classified(tmp_path: Path) -> None:
    rows = [{**row, "label": ("a", "b")[i % 2]} for i, row in enumerate(spans())]
    assert [one for one in run(tmp_path, "rows", rows) if one.severity != "note"] == []


def test_a_file_without_a_row_that_can_be_used_gives_its_findings(tmp_path: Path) -> None:
    findings = run(tmp_path, "regress", [[text, "no number"] for text, _ in table()])
    assert {(one.code, one.severity) for one in findings} == {("label-number", "error")}


def test_the_worst_comes_first_and_then_the_place(tmp_path: Path) -> None:
    rows = table()
    rows[20][0] = rows[7][0] = " "
    findings = run(tmp_path, "classify", rows, None, "trainer.warmup_steps=100000")
    ranks = [("error", "warning", "note").index(one.severity) for one in findings]
    assert ranks == sorted(ranks)
    assert findings[0].code == "train-warmup"
    assert [one.line for one in findings if one.code == "text-empty"] == [line(7), line(20)]
