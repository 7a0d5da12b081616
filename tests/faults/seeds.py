"""Files that are right, of every format that is read: made of random records, so that what must come out is known.

`make(reader, rng)` returns a `Seed`: files, the one that is named to bertft, and the values of each record by role.
"""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]

_PLAIN = """
the a of Ann Oslo bought New Haven late again every house river likes and or not there works U.S. Mr. 3,14 ok? yes! (so)
東京 Zürich naïve it's e\u0301t مرحبا मैंने 日本語 Straße co-op x/y
"""
_WORDS = tuple(_PLAIN.split())
_ODD = (
    *("#", '"', "'", "—", "a|b", "🎉", "<b>", "=1+1", "\\"),
    *("\u200d", "\u202eabc", "\x1b[31m", "\x85", "\u2028", "\xa0"),
)
_LABELS = ("good", "bad", "so so")
_KINDS = ("PER", "LOC")


@dataclass(frozen=True, slots=True)
class Seed:
    """Files by name, the `name` of what is read, for which task, and the values that its records have by role."""

    files: dict[str, bytes]
    name: str
    task: str
    records: Sequence[Record]
    format: str | None = None


def make(reader: str, rng: random.Random) -> Seed:
    """Return a random file that `reader` reads."""
    return _MAKERS[reader](rng)


def words(rng: random.Random, least: int = 2, most: int = 9, *, odd: Sequence[str] = _ODD) -> list[str]:
    """Return random words, about one of twelve an odd one."""
    return [rng.choice(odd if odd and rng.random() < 0.08 else _WORDS) for _ in range(rng.randint(least, most))]


def _text(rng: random.Random, *, odd: Sequence[str] = ()) -> str:
    return " ".join(words(rng, 4, odd=odd))


def _count(rng: random.Random) -> range:
    return range(rng.randint(3, 9))


def _end(rng: random.Random) -> str:
    return rng.choice(["\n", "\n", "\r\n"])


# -- records --------------------------------------------------------------------------------------------------------


def _classify(rng: random.Random, odd: Sequence[str] = _ODD) -> list[Record]:
    return [{"text": _text(rng, odd=odd), "label": rng.choice(_LABELS)} for _ in _count(rng)]


def _pairs(rng: random.Random, odd: Sequence[str] = _ODD) -> list[Record]:
    return [
        {"text_a": _text(rng, odd=odd), "text_b": _text(rng, odd=odd), "label": rng.choice(_LABELS)}
        for _ in _count(rng)
    ]


def _tagged(rng: random.Random, odd: Sequence[str] = _ODD) -> list[Record]:
    records = []
    for _ in _count(rng):
        tokens = words(rng, odd=odd)
        tags = ["O"] * len(tokens)
        tags[rng.randrange(len(tags))] = f"B-{rng.choice(_KINDS)}"
        records.append({"tokens": tokens, "tags": tags})
    return records


def _spans(rng: random.Random) -> list[Record]:
    records = []
    for _ in _count(rng):
        some = words(rng, 3, odd=())
        start = sum(len(word) + 1 for word in some[:1])
        span = {"start": start, "end": start + len(some[1]), "label": rng.choice(_KINDS)}
        records.append({"text": " ".join(some), "entities": [span]})
    return records


def _questions(rng: random.Random) -> list[Record]:
    records = []
    for _ in _count(rng):
        context = _text(rng)
        answer = context.split()[-1]
        found = [{"text": answer, "answer_start": len(context) - len(answer)}]
        records.append({"question": f"{_text(rng)}?", "context": context, "answers": found})
    return records


_RECORDS: dict[str, Callable[[random.Random], list[Record]]] = {
    "classify": _classify,
    "pair": _pairs,
    "ner": _tagged,
    "spans": _spans,
    "qa": _questions,
}
_NAMES = {"text_a": "sentence1", "text_b": "sentence2"}


def _random(rng: random.Random) -> tuple[str, list[Record], list[Record]]:
    """Return a task, records with usual names for it, and what they hold by role."""
    kind = rng.choice([*_RECORDS])
    records = _RECORDS[kind](rng)
    named = [{_NAMES.get(role, role): value for role, value in record.items()} for record in records]
    return "ner" if kind == "spans" else kind, named, records


# -- formats --------------------------------------------------------------------------------------------------------


def _dumped(value: object, rng: random.Random) -> str:
    return json.dumps(value, ensure_ascii=rng.random() < 0.3, indent=rng.choice([None, None, 1]))


def _lines(values: Sequence[object], rng: random.Random) -> bytes:
    end = _end(rng)
    return "".join(json.dumps(value, ensure_ascii=rng.random() < 0.3) + end for value in values).encode()


def _conll(rng: random.Random) -> Seed:
    records = _tagged(rng, [odd for odd in _ODD if odd not in ("#", "a|b")])
    separator, end, extra = rng.choice(["\t", " "]), _end(rng), rng.randint(0, 2)
    blocks = ["-DOCSTART- -X- O O" + end + end] if rng.random() < 0.3 and separator == " " and extra == 2 else []
    for record in records:
        rows = zip(record["tokens"], record["tags"], strict=True)
        blocks.append("".join(separator.join([word, *["x"] * extra, tag]) + end for word, tag in rows) + end)
    text = "".join(blocks)
    return Seed({"f.conll": (text.rstrip() if rng.random() < 0.3 else text).encode()}, "f.conll", "ner", records)


def _universal(rng: random.Random) -> Seed:
    records, end = [{"tokens": r["tokens"], "tags": ["NOUN"] * len(r["tokens"])} for r in _tagged(rng, ())], _end(rng)
    text = ""
    for record in records:
        text += f"# text = {' '.join(record['tokens'])}{end}1-2\tx{'	_' * 8}{end}"
        text += "".join(f"{i}\t{w}\t_\tNOUN{'	_' * 6}{end}" for i, w in enumerate(record["tokens"], 1)) + end
    return Seed({"f.conllu": text.encode()}, "f.conllu", "ner", records)


def _table(rng: random.Random) -> Seed:
    delimiter = rng.choice(",;\t|")
    # two readings of a quote in a table with tabs are both right; a bar as the delimiter is no character of a word
    odd = [word for word in _ODD if not {delimiter, '"', "|"} & {*word}] if delimiter in "\t|" else (*_ODD, 'say "so"')
    task, records = rng.choice([("classify", _classify), ("pair", _pairs)])
    found = records(rng, odd)
    names = [_NAMES.get(role, role) for role in found[0]]
    if delimiter in ",;":
        for record in found:
            if rng.random() < 0.3:
                name = next(iter(record))
                record[name] += rng.choice([f"{delimiter} so", "\nand on", '"', ' "a" b'])
    stream = io.StringIO()
    quoting = csv.QUOTE_ALL if delimiter in ",;" and rng.random() < 0.3 else csv.QUOTE_MINIMAL
    writer = csv.writer(stream, delimiter=delimiter, lineterminator=_end(rng), quoting=quoting)
    writer.writerow(names)
    writer.writerows(record.values() for record in found)
    suffix = "tsv" if delimiter == "\t" else "csv"
    return Seed({f"f.{suffix}": stream.getvalue().encode()}, f"f.{suffix}", task, found)


def _jsonl(rng: random.Random) -> Seed:
    task, named, records = _random(rng)
    return Seed({"f.jsonl": _lines(named, rng)}, "f.jsonl", task, records)


def _json(rng: random.Random) -> Seed:
    task, named, records = _random(rng)
    shape = rng.choice(["list", "data", "keyed", "columns", "splits", "frame"])
    value: Any = named
    if shape == "data":
        value = {"version": 1, "data": named}
    elif shape == "keyed":
        value = {f"r{i}": record for i, record in enumerate(named)}
    elif shape == "columns" and "tokens" not in named[0]:
        value = {name: [record[name] for record in named] for name in named[0]}
    elif shape == "splits":
        value = {"train": named, "test": named[:1]}
    elif shape == "frame" and task == "classify":
        value = {name: {str(i): record[name] for i, record in enumerate(named)} for name in named[0]}
    return Seed({"f.json": _dumped(value, rng).encode()}, "f.json", task, records)


def _squad(rng: random.Random) -> Seed:
    records = _questions(rng)
    gap = rng.random() < 0.4
    if gap:
        records[0]["answers"] = []
    flagged = [{**record, **({"is_impossible": not record["answers"]} if gap else {})} for record in records]
    articles = [
        {
            "title": f"t{i // 2}",
            "paragraphs": [
                {"context": record["context"], "qas": [{k: v for k, v in record.items() if k != "context"}]}
                for record in flagged[i : i + 2]
            ],
        }
        for i in range(0, len(records), 2)
    ]
    return Seed({"f.json": _dumped({"version": "1", "data": articles}, rng).encode()}, "f.json", "qa", records)


def _arrow(rng: random.Random) -> Seed:
    import pyarrow as pa
    import pyarrow.parquet as pq

    task, named, records = _random(rng)
    table = pa.Table.from_pylist(named)
    kind = rng.choice(["parquet", "parquet", "arrow", "stream", "saved"])
    stream = io.BytesIO()
    if kind == "parquet":
        codec = rng.choice(["snappy", "none", "gzip"])
        pq.write_table(table, stream, row_group_size=rng.randint(1, 4), compression=codec)
        return Seed({"f.parquet": stream.getvalue()}, "f.parquet", task, records)
    with (pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream)(stream, table.schema) as writer:
        writer.write_table(table, max_chunksize=rng.randint(1, 4))
    if kind != "saved":
        return Seed({"f.arrow": stream.getvalue()}, "f.arrow", task, records)
    state = {"_data_files": [{"filename": "data-0.arrow"}], "_split": None}
    info = {"features": {name: {"dtype": "string", "_type": "Value"} for name in named[0]}}
    files = {"d/data-0.arrow": stream.getvalue(), "d/state.json": json.dumps(state).encode()}
    return Seed({**files, "d/dataset_info.json": json.dumps(info).encode()}, "d", task, records)


def _fasttext(rng: random.Random) -> Seed:
    records = [{"text": _text(rng), "label": rng.choice(_LABELS[:2])} for _ in _count(rng)]
    end = _end(rng)
    text = "".join(f"__label__{record['label']} {record['text']}{end}" for record in records)
    return Seed({"f.txt": text.encode()}, "f.txt", "classify", records)


def _plain(rng: random.Random) -> Seed:
    records, end = [{"text": _text(rng, odd=_ODD)} for _ in _count(rng)], _end(rng)
    return Seed({"f.txt": "".join(r["text"] + end for r in records).encode()}, "f.txt", "classify", records, "text")


def _parallel(rng: random.Random) -> Seed:
    records, end = [{**r, "text": " ".join(r["tokens"])} for r in _tagged(rng, ())], _end(rng)
    files = {
        "d/seq.in": "".join(r["text"] + end for r in records).encode(),
        "d/seq.out": "".join(" ".join(r["tags"]) + end for r in records).encode(),
        "d/label": "".join(rng.choice(_LABELS) + end for _ in records).encode(),
    }
    return Seed(files, "d", "ner", records)


def _folder(rng: random.Random) -> Seed:
    records = [*_classify(rng), {"text": "one more", "label": "good"}, {"text": "and one", "label": "bad"}]
    files = {f"d/{record['label']}/{i}.txt": record["text"].encode() for i, record in enumerate(records)}
    return Seed(files, "d", "classify", records)


def _brat(rng: random.Random) -> Seed:
    files, records = {}, _spans(rng)
    for i, record in enumerate(records):
        (span,), text = record["entities"], record["text"]
        piece = text[span["start"] : span["end"]]
        files[f"d/{i}.txt"] = text.encode()
        files[f"d/{i}.ann"] = (
            f"T1\t{span['label']} {span['start']} {span['end']}\t{piece}\nR1\tIn Arg1:T1 Arg2:T1\n".encode()
        )
    return Seed(files, "d", "ner", records)


def _label_studio(rng: random.Random) -> Seed:
    records = rng.choice([_spans, _classify])(rng)
    task, minimal = "ner" if "entities" in records[0] else "classify", rng.random() < 0.4
    made: list[Record] = []
    for i, record in enumerate(records):
        regions = [{"start": e["start"], "end": e["end"], "labels": [e["label"]]} for e in record.get("entities", ())]
        value: Record = regions[0] if regions else {"choices": [record["label"]]}
        if minimal:
            result = regions or record["label"]
            made.append({"text": record["text"], "id": i, "ls": result, "annotator": 1, "annotation_id": 7})
        else:
            one = {"from_name": "c", "to_name": "text", "type": "labels" if regions else "choices", "value": value}
            made.append({"id": i, "data": {"text": record["text"]}, "annotations": [{"result": [one]}]})
    return Seed({"f.json": _dumped(made, rng).encode()}, "f.json", task, records)


def _doccano(rng: random.Random) -> Seed:
    if rng.random() < 0.5:
        made = [
            {"id": i, "text": r["text"], "label": [[e["start"], e["end"], e["label"]] for e in r["entities"]]}
            for i, r in enumerate(_spans(rng))
        ]
        records = [{"text": r["text"], "entities": r["label"]} for r in made]
        return Seed({"f.jsonl": _lines(made, rng)}, "f.jsonl", "ner", records)
    records = _classify(rng)
    old = [
        {"id": i, "text": r["text"], "annotations": [{"label": len(r["label"]), "user": 1}], "meta": {}}
        for i, r in enumerate(records)
    ]
    known = [{"text": r["text"], "label": str(len(r["label"]))} for r in records]
    return Seed({"f.jsonl": _lines(old, rng)}, "f.jsonl", "classify", known)


def _prodigy(rng: random.Random) -> Seed:
    if rng.random() < 0.5:
        records = _spans(rng)
        made = [{"text": r["text"], "spans": r["entities"], "answer": "accept", "_task_hash": 1} for r in records]
        return Seed({"f.jsonl": _lines(made, rng)}, "f.jsonl", "ner", records)
    records = _classify(rng)
    options = [{"id": label, "text": label} for label in _LABELS]
    made = [{"text": r["text"], "options": options, "accept": [r["label"]], "answer": "accept"} for r in records]
    return Seed({"f.jsonl": _lines(made, rng)}, "f.jsonl", "classify", records)


def _spacy(rng: random.Random) -> Seed:
    records = _tagged(rng, ())
    made = []
    for i, record in enumerate(records):
        rows = zip(record["tokens"], record["tags"], strict=True)
        tokens = [{"id": n, "orth": word, "ner": tag, "tag": "-"} for n, (word, tag) in enumerate(rows)]
        raw = " ".join(record["tokens"])
        cats = [{"label": "good", "value": 1.0}, {"label": "bad", "value": 0.0}]
        made.append({"id": i, "paragraphs": [{"raw": raw, "sentences": [{"tokens": tokens}], "cats": cats}]})
    return Seed({"f.json": _dumped(made, rng).encode()}, "f.json", "ner", records)


_MAKERS: dict[str, Callable[[random.Random], Seed]] = {
    "conll": _conll,
    "conllu": _universal,
    "table": _table,
    "jsonl": _jsonl,
    "json": _json,
    "squad": _squad,
    "arrow": _arrow,
    "fasttext": _fasttext,
    "text": _plain,
    "lines": _parallel,
    "folder": _folder,
    "brat": _brat,
    "label-studio": _label_studio,
    "doccano": _doccano,
    "prodigy": _prodigy,
    "spacy": _spacy,
}
READERS = tuple(_MAKERS)
