"""Questions: answers that do not stand where they should, shares without an answer, questions that come twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bertft.check.findings import Finding, Severity, by_share, finding
from bertft.tasks.question import Question

_MUCH = 0.2  # between the shares of questions without an answer in two files
_MOST = 0.8
_LEAST = 20  # questions of a file whose share means something


def check_answers(questions: Sequence[Question], *, longest: int) -> list[Finding]:
    """Return what is wrong with the answers of one file; `longest` is how many tokens an answer may have."""
    found = []
    wide = []
    for one in questions:
        who = f"question {one.id!r}"
        if one.contrary:
            found.append(_at(one, "qa-contrary", "warning", f"{who} is marked as impossible, and has answers"))
        elif one.lost:
            severity: Severity = "warning" if one.usable else "error"
            left = "" if one.usable else "; the question is left out"
            message = f"{one.lost} answer{'s' * (one.lost > 1)} of {who} cannot be located in the context{left}"
            found.append(_at(one, "qa-lost", severity, message))
        elif one.moved:
            found.append(_at(one, "qa-offset", "warning", f"an answer of {who} is not where its offset says"))
        wide += [one for gold in (one.answers or ())[:1] if len(gold.text.split()) > longest]
    found += _edges(questions)
    if wide:
        message = f"{len(wide):,} of {len(questions):,} answers have more than {longest} words"
        found.append(_at(wide[0], "qa-long", by_share(len(wide), len(questions)), message))
    return [*found, *_twice(questions)]


def check_shares(parts: Sequence[tuple[str, str, Sequence[Question]]]) -> list[Finding]:
    """Compare the shares of questions without an answer; `parts` are (name, path, questions), train first."""
    shares = [
        (name, path, sum(one.answers == () for one in some) / len(some), len(some))
        for name, path, some in parts
        if some
    ]
    if not shares:
        return []
    (_, path, known, size), *others = shares
    found = []
    if known > _MOST and size >= _LEAST:
        found.append(finding("qa-share", "warning", f"{known:.0%} of the questions have no answer", at=path))
    for name, path, share, size in others:
        never = share > 0 and known == 0
        if never or (abs(share - known) > _MUCH and size >= _LEAST):
            message = f"{share:.0%} of the questions of {name} have no answer, and {known:.0%} of those of train"
            found.append(finding("qa-share", "warning" if never else "note", message, at=path))
    return found


def _at(one: Question, code: str, severity: Severity, message: str) -> Finding:
    return finding(code, severity, message, at=one.place, id=one.id)


def _edges(questions: Sequence[Question]) -> Iterator[Finding]:
    cut = []
    for one in questions:
        for text, start in one.answers or ():
            ends = (start, start + len(text))
            around = (one.context[max(edge - 1, 0) : edge + 1] for edge in ends)
            if text != text.strip() or any(_in_word(pair) for pair in around):
                cut.append((one, text))
                break
    severity = by_share(len(cut), len(questions), least=0.05)
    for one, text in cut:
        what = "has white space at its edge" if text != text.strip() else "begins or ends inside a word"
        yield _at(one, "qa-edge", severity, f"the answer {text[:60]!r} of question {one.id!r} {what}")


def _in_word(pair: str) -> bool:
    # Han, kana, Thai: words are not parted, so every edge would be inside one
    return (
        len(pair) == 2
        and all(char.isalnum() and char < "\u0e00" for char in pair)
        and pair[0].isalpha() == pair[1].isalpha()
    )


def _twice(questions: Sequence[Question]) -> Iterator[Finding]:
    seen: dict[tuple[str, str], Question] = {}
    repeated = []
    for one in questions:
        first = seen.setdefault((one.question.casefold(), one.context), one)
        if first is not one:
            repeated.append((one, first))
    if repeated:
        one, first = repeated[0]
        message = (
            f"{len(repeated):,} of {len(questions):,} questions are asked before of the same context; {one.id!r} is "
        )
        message += f"also at {first.place}, {first.id!r}"
        yield _at(one, "qa-duplicate", by_share(len(repeated), len(questions)), message)
