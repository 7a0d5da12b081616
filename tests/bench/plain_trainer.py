"""The baseline for tags: a plain `Trainer` loop on a column file, as HF's run_ner.py does it at its defaults.

Stands alone on purpose (no import of bertft), so that nothing of ours can help or hurt it: the file's own tags are the
labels, sentences are cut at the model's length. The other defaults are in `loop.py`.

Files: columns, of which the first is the word and the last the tag; CoNLL-U (`.conllu`), of which the tag is the UPOS
column; `seq.in`, one sentence a line, with its tags in `seq.out` beside it.

Scores of spans (tags with B- and the like) are seqeval's default mode on the file's own tags, of plain tags accuracy
and macro F1 over words. A word that was cut off counts as predicted `O`.

    python -m tests.bench.plain_trainer TRAIN DEV [TEST] --model DIR --seed 1     # one JSON line
"""

import json
import re
import sys
from itertools import pairwise
from pathlib import Path

import torch
from seqeval.metrics import f1_score, precision_score, recall_score
from sklearn.metrics import accuracy_score
from sklearn.metrics import f1_score as label_f1_score
from transformers import AutoModelForTokenClassification, AutoTokenizer, DataCollatorForTokenClassification

from tests.bench.loop import Loop, Row, limit, parser

Sentence = tuple[list[str], list[str]]


def read(path: str) -> list[Sentence]:
    """Return the file's sentences as (words, tags)."""
    text = Path(path).read_text(encoding="utf-8")
    if path.endswith("seq.in"):
        tags = Path(path).with_name("seq.out").read_text(encoding="utf-8")
        pairs = zip(text.split("\n"), tags.split("\n"), strict=True)
        return [(words.split(), labels.split()) for words, labels in pairs if words.strip()]
    universal = path.endswith(".conllu")
    sentences: list[Sentence] = [([], [])]
    for line in text.split("\n") if universal else text.splitlines():
        fields = line.split("\t") if universal else re.split(r"[ \t]+", line.strip())
        if fields == [""]:
            sentences.append(([], []))
        elif universal and fields[0].isdigit():  # not a comment, a multiword token 1-2 or an empty node 1.1
            sentences[-1][0].append(fields[1])
            sentences[-1][1].append(fields[3])
        elif not universal and fields[0] != "-DOCSTART-":
            sentences[-1][0].append(fields[0])
            sentences[-1][1].append(fields[-1])
    return [sentence for sentence in sentences if sentence[0]]


def scores(gold: list[list[str]], predicted: list[list[str]]) -> dict[str, float]:
    """Return the scores of spans where the gold tags have prefixes, else those of plain tags."""
    if any("-" in tag for tags in gold for tag in tags):
        return {
            "f1": float(f1_score(gold, predicted)),
            "precision": float(precision_score(gold, predicted)),
            "recall": float(recall_score(gold, predicted)),
        }
    flat = [[tag for tags in side for tag in tags] for side in (gold, predicted)]
    return {
        "accuracy": float(accuracy_score(*flat)),
        "macro_f1": float(label_f1_score(*flat, average="macro", zero_division=0)),
    }


def main() -> None:
    """Train, and print scores, seconds and arguments as one JSON line."""
    args = parser(__doc__).parse_args()
    files = [read(path) for path in args.files]
    train = files[0]
    labels = sorted({tag for _, tags in train for tag in tags})
    label2id = {label: i for i, label in enumerate(labels)}
    torch.manual_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.model, add_prefix_space=True)
    model = AutoModelForTokenClassification.from_pretrained(
        args.model, dtype=torch.float32, num_labels=len(labels), id2label=dict(enumerate(labels)), label2id=label2id
    )
    length = limit(tokenizer, model)

    def encode(sentences: list[Sentence]) -> list[tuple[Row, list[int | None]]]:
        """Return the model's inputs of each sentence, and which token is the first of which word."""
        rows = []
        for words, tags in sentences:
            encoded = tokenizer(words, is_split_into_words=True, truncation=True, max_length=length)
            heads = [w if w != before else None for before, w in pairwise([None, *encoded.word_ids()])]
            ids = [-100 if w is None else label2id.get(tags[w], -100) for w in heads]
            rows.append(({**encoded, "labels": ids}, heads))
        return rows

    loop = Loop(args, model, [row for row, _ in encode(train)], DataCollatorForTokenClassification(tokenizer))
    seconds = loop.train()
    result = {}
    for part, sentences in zip(("dev", "test"), files[1:], strict=False):
        rows = encode(sentences)
        predicted = []
        for (_, tags), (_, heads), logits in zip(sentences, rows, loop.logits([row for row, _ in rows]), strict=True):
            guess = ["O"] * len(tags)
            for w, best in zip(heads, logits.argmax(-1), strict=False):  # the logits go on into the padding
                if w is not None:
                    guess[w] = labels[best]
            predicted.append(guess)
        result[part] = scores([tags for _, tags in sentences], predicted)
    print(json.dumps({**result, **seconds, **vars(args)}))


if __name__ == "__main__":
    sys.exit(main())
