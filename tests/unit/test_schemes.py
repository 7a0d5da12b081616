"""Tags to spans and back: compared with a reader and writers of our own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertft.text.schemes import (
    SCHEMES,
    EntitySpan,
    Scheme,
    TagStyle,
    detect,
    invalid_positions,
    read_spans,
    style_of_labels,
    write_bio,
)

quick = settings(max_examples=150)
TYPES = ("PER", "LOC", "creative-work")
LETTERS = {"IOB1": "BI", "BIO": "BI", "IOE1": "IE", "IOE2": "IE", "BIOES": "BIES", "BILOU": "BILU"}


def ends(before: tuple[str, str], after: tuple[str, str]) -> bool:
    """conlleval.pl's endOfChunk, with S as a chunk of its own."""
    (left, left_type), (right, right_type) = before, after
    if left == "O":
        return False
    return left in "ES" or right in "OBS" or left_type != right_type


def starts(before: tuple[str, str], after: tuple[str, str]) -> bool:
    """conlleval.pl's startOfChunk, with S as a chunk of its own."""
    (left, left_type), (right, right_type) = before, after
    if right == "O":
        return False
    return right in "BS" or left in "OES" or left_type != right_type


def conlleval_spans(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    bioes = str.maketrans("LUM", "ESI")
    pairs = [("O", "") if tag == "O" else (tag[0].translate(bioes), tag[2:]) for tag in tags]
    padded = [("O", ""), *pairs, ("O", "")]
    boundaries = list(pairwise(padded))
    opened = [i for i, (a, b) in enumerate(boundaries) if starts(a, b)]
    closed = [i for i, (a, b) in enumerate(boundaries) if ends(a, b)]
    return [(start, end, padded[start + 1][1]) for start, end in zip(opened, closed, strict=True)]


def _touching(spans: Sequence[EntitySpan], i: int) -> tuple[bool, bool]:
    """Say whether span `i` touches a span of its own type on the left, and on the right."""
    left = i > 0 and spans[i - 1].end == spans[i].start and spans[i - 1].label == spans[i].label
    right = i + 1 < len(spans) and spans[i + 1].start == spans[i].end and spans[i + 1].label == spans[i].label
    return left, right


def _chunk(scheme: Scheme, n: int, left: bool, right: bool) -> str:
    inside = "I" * n
    match scheme:
        case "IOB1":
            return ("B" if left else "I") + inside[1:]
        case "BIO":
            return "B" + inside[1:]
        case "IOE1":
            return inside[1:] + ("E" if right else "I")
        case "IOE2":
            return inside[1:] + "E"
        case "BIOES":
            return "S" if n == 1 else "B" + inside[2:] + "E"
        case "BILOU":
            return "U" if n == 1 else "B" + inside[2:] + "L"
        case _:
            return inside


def written(spans: Sequence[EntitySpan], length: int, scheme: Scheme) -> list[str]:
    tags = ["O"] * length
    for i, (start, end, label) in enumerate(spans):
        left, right = _touching(spans, i)
        tags[start:end] = [f"{letter}-{label}" for letter in _chunk(scheme, end - start, left, right)]
    return tags


@st.composite
def sentence_spans(draw: st.DrawFn) -> tuple[list[EntitySpan], int]:
    spans, at = [], 0
    for _ in range(draw(st.integers(0, 5))):
        start = at + draw(st.integers(0, 2))
        at = start + draw(st.integers(1, 3))
        spans.append(EntitySpan(start, at, draw(st.sampled_from(TYPES))))
    return spans, at + draw(st.integers(0, 2))


def tags_of(letters: str) -> st.SearchStrategy[list[str]]:
    known = ["O", *(f"{letter}-{kind}" for letter in letters for kind in TYPES)]
    return st.lists(st.sampled_from(known), max_size=12)


@pytest.mark.parametrize("scheme", LETTERS)
@quick
@given(data=st.data())
def test_any_sequence_reads_as_conlleval_reads_it(scheme: Scheme, data: st.DataObject) -> None:
    tags = data.draw(tags_of(LETTERS[scheme]))
    assert [tuple(span) for span in read_spans(tags, TagStyle(scheme))] == conlleval_spans(tags)


@quick
@given(tags=tags_of("BIMESLU"))
def test_mixed_letters_read_as_conlleval_reads_them(tags: list[str]) -> None:
    assert [tuple(span) for span in read_spans(tags, TagStyle("BIOES"))] == conlleval_spans(tags)


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("I-PER I-LOC", [(0, 1, "PER"), (1, 2, "LOC")]),
        ("I-PER B-PER I-PER", [(0, 1, "PER"), (1, 3, "PER")]),
        ("E-PER E-PER", [(0, 1, "PER"), (1, 2, "PER")]),
        ("B-PER O I-PER", [(0, 1, "PER"), (2, 3, "PER")]),
        ("S-PER I-PER", [(0, 1, "PER"), (1, 2, "PER")]),
        ("O O", []),
        ("", []),
    ],
)
def test_reading_by_example(tags: str, spans: list[tuple[int, int, str]]) -> None:
    assert read_spans(tags.split(), TagStyle("BIOES")) == spans


@pytest.mark.parametrize("scheme", LETTERS)
@quick
@given(case=sentence_spans())
def test_spans_survive_every_scheme(scheme: Scheme, case: tuple[list[EntitySpan], int]) -> None:
    spans, length = case
    tags = written(spans, length, scheme)
    assert read_spans(tags, TagStyle(scheme)) == spans
    assert invalid_positions(tags, TagStyle(scheme)) == []


@quick
@given(case=sentence_spans())
def test_bio_is_written_as_the_scheme_says(case: tuple[list[EntitySpan], int]) -> None:
    spans, length = case
    assert write_bio(spans, length) == written(spans, length, "BIO")


@quick
@given(tags=tags_of("BI"))
def test_what_is_written_as_bio_is_valid_and_reads_the_same(tags: list[str]) -> None:
    spans = read_spans(tags, TagStyle("IOB1"))
    bio = write_bio(spans, len(tags))
    assert invalid_positions(bio, TagStyle("BIO")) == []
    assert read_spans(bio, TagStyle("BIO")) == spans


@pytest.mark.parametrize("scheme", LETTERS)
@quick
@given(data=st.data())
def test_a_sequence_is_valid_exactly_when_writing_its_spans_gives_it_back(scheme: Scheme, data: st.DataObject) -> None:
    tags = data.draw(tags_of(LETTERS[scheme]))
    style = TagStyle(scheme)
    assert (invalid_positions(tags, style) == []) == (written(read_spans(tags, style), len(tags), scheme) == tags)


SAMPLE = [
    ([EntitySpan(0, 1, "PER"), EntitySpan(1, 3, "PER"), EntitySpan(4, 7, "LOC")], 8),
    ([EntitySpan(1, 4, "creative-work")], 5),
    ([EntitySpan(0, 2, "LOC"), EntitySpan(2, 3, "LOC")], 3),
]


@pytest.mark.parametrize("scheme", LETTERS)
def test_each_scheme_is_detected(scheme: Scheme) -> None:
    found = detect([written(spans, length, scheme) for spans, length in SAMPLE])
    assert (found.style, found.inconsistent, found.sentences) == (TagStyle(scheme), 0, 3)


@pytest.mark.parametrize(
    ("write", "order", "separator"),
    [
        (lambda letter, kind: f"{letter}-{kind}", "prefix", "-"),
        (lambda letter, kind: f"{letter}_{kind}", "prefix", "_"),
        (lambda letter, kind: f"{kind}-{letter}", "suffix", "-"),
        (lambda letter, kind: f"{kind}_{letter}", "suffix", "_"),
    ],
)
@pytest.mark.parametrize("scheme", LETTERS)
def test_each_way_of_writing_is_detected_and_read(
    scheme: Scheme, write: Callable[[str, str], str], order: str, separator: str
) -> None:
    sentences = [
        [tag if tag == "O" else write(tag[0], tag[2:]) for tag in written(spans, length, scheme)]
        for spans, length in SAMPLE
    ]
    style = detect(sentences).style
    assert (style.scheme, style.order, style.separator) == (scheme, order, separator)
    assert [read_spans(tags, style) for tags in sentences] == [spans for spans, _ in SAMPLE]
    assert [[style.canonical(tag) for tag in tags] for tags in sentences] == [
        written(spans, length, scheme) for spans, length in SAMPLE
    ]


def test_io_merges_neighbours_of_one_type() -> None:
    found = detect([["PER", "PER", "O", "LOC", "PER"]])
    assert found.style.scheme == "IO"
    assert found.inconsistent == 0
    assert read_spans(["PER", "PER", "O", "LOC", "PER"], found.style) == [(0, 2, "PER"), (3, 4, "LOC"), (4, 5, "PER")]


def test_parts_of_speech_are_plain() -> None:
    assert detect([["DET", "NOUN", "VERB"], ["PRON", "VERB", "."]]).style.scheme == "plain"


@pytest.mark.parametrize("tags", [["NN-B", "VB", "DT"], ["B-S", "NNP", "VBZ", "IN", "DT"]])
def test_a_stray_tag_that_looks_prefixed_does_not_make_a_scheme(tags: list[str]) -> None:
    assert detect([tags]).style.scheme == "plain"


def test_only_o_has_no_entities() -> None:
    found = detect([["O", "O"], ["O"]])
    assert found.inconsistent == 0
    assert read_spans(["O", "O"], found.style) == []


def test_no_sentences_at_all_are_no_error() -> None:
    assert detect([]).sentences == 0


def test_inconsistent_sentences_are_counted_once_each() -> None:
    good = ["B-PER", "I-PER", "O", "B-PER", "B-LOC"]
    bad = ["O", "I-PER", "O", "I-LOC"]
    found = detect([good, good, bad, good])
    assert (found.style.scheme, found.inconsistent, found.sentences) == ("BIO", 1, 4)
    assert invalid_positions(bad, found.style) == [1, 3]


@pytest.mark.parametrize(
    ("tags", "places"),
    [
        ("B-PER O", [0]),
        ("S-PER I-PER", [0, 1]),
        ("B-PER E-LOC", [0, 1]),
        ("O I-PER O", [1]),
        ("B-PER I-PER E-PER S-LOC", []),
    ],
)
def test_broken_bioes_is_located(tags: str, places: list[int]) -> None:
    assert invalid_positions(tags.split(), TagStyle("BIOES")) == places


def test_a_tag_without_prefix_is_inconsistent_in_a_prefixed_scheme() -> None:
    tags = ["B-PER", "I-PER"] * 9 + ["PER"]
    assert detect([tags]).style.scheme == "BIO"
    assert invalid_positions(tags, TagStyle("BIO")) == [18]


def test_a_given_scheme_is_kept_and_its_writing_detected() -> None:
    found = detect([["I_PER", "O"], ["B_PER"]], "IOB1")
    assert found.style == TagStyle("IOB1", "prefix", "_")
    assert found.inconsistent == 1


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_can_be_given(scheme: Scheme) -> None:
    assert detect([["O"]], scheme).style.scheme == scheme


@pytest.mark.parametrize(
    ("style", "tag", "canonical"),
    [
        (TagStyle("BIO"), "B-creative-work", "B-creative-work"),
        (TagStyle("BIO", "prefix", "_"), "B_creative-work", "B-creative-work"),
        (TagStyle("BIO", "suffix", "-"), "creative-work-B", "B-creative-work"),
        (TagStyle("BILOU"), "U-PER", "U-PER"),
        (TagStyle("BILOU"), "L-PER", "L-PER"),
        (TagStyle("BIOES"), "M-PER", "I-PER"),
        (TagStyle("BIO"), "O", "O"),
    ],
)
def test_canonical_writes_the_prefix_in_front(style: TagStyle, tag: str, canonical: str) -> None:
    assert style.canonical(tag) == canonical


@pytest.mark.parametrize(
    ("labels", "scheme"),
    [
        (["O", "B-PER", "I-PER", "B-LOC", "I-LOC"], "BIO"),
        (["O", "I-PER", "I-LOC", "I-ORG"], "IOB1"),
        (["O", "B-MISC", "I-MISC", "I-PER", "I-LOC"], "IOB1"),
        (["O", "B-PER"], "BIO"),
        (["O", "B-PER", "I-PER", "E-PER", "S-PER"], "BIOES"),
        (["O", "B-PER", "I-PER", "L-PER", "U-PER"], "BILOU"),
        (["O", "PER", "LOC"], "IO"),
        (["NOUN", "VERB"], "plain"),
        (["O", "B_PER", "I_PER"], "BIO"),
    ],
)
def test_the_style_of_a_label_set(labels: list[str], scheme: str) -> None:
    assert style_of_labels(labels).scheme == scheme
