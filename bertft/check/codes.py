"""The table of codes: what each finding means, why it matters, and how it is mended. `check --explain` prints it."""

from __future__ import annotations

from typing import NamedTuple

from bertft.errors import UsageError, did_you_mean


class Code(NamedTuple):
    """What a code stands for, in one sentence each; `fix` stands under every finding that has none of its own."""

    what: str
    why: str
    fix: str


CODES = {
    # -- labels --------------------------------------------------------------------------------------------------------
    "label-unseen": Code(
        "A label of dev or test does not occur in train.",
        "A model cannot predict what it has not seen: every such row is scored as missed.",
        "correct the label, or add rows with it to train",
    ),
    "label-rare": Code(
        "A label has very few rows in train.",
        "Of one or two rows a label is not learnt, and macro F1 counts it as much as the others.",
        "add rows, or merge the label with another one",
    ),
    "label-typo": Code(
        "Two labels differ only in case, blanks or a letter or two, and one of them is rare.",
        "They are learnt as two labels, and each takes rows from the other.",
        "write both in one way",
    ),
    "label-imbalance": Code(
        "One label has nearly all rows, or another next to none of them.",
        "Accuracy then says little: to answer the common label always scores its share.",
        "look at macro_f1; `--set options.class_weights=auto` weighs rare labels up",
    ),
    "label-single": Code(
        "All rows have one label.",
        "There is nothing to tell apart, so nothing is learnt.",
        "is this the column of the labels? `--columns label=…`",
    ),
    "label-missing": Code(
        "A row has no label, or one that cannot be read.",
        "Training stops at such a row.",
        "label the row or leave it out",
    ),
    "label-empty": Code(
        "A row's label is empty.",
        "An empty label is learnt as a label like others.",
        "label the row or leave it out",
    ),
    "label-number": Code(
        "A value to be learnt is no number.",
        "A regression needs a number in every row.",
        "write a number, or choose another task with `--set options.problem_type=…`",
    ),
    "label-many": Code(
        "There are nearly as many labels as rows.",
        "Such a column holds ids, names or free text, and no label has enough rows to be learnt.",
        "is this the column of the labels? `--columns label=…`",
    ),
    "label-swapped": Code(
        "The label column looks like running text, and the text column repeats a few short values.",
        "The two are swapped: the model would learn to guess texts from labels.",
        "name them with `--columns text=…,label=…`",
    ),
    "label-shift": Code(
        "Labels are distributed otherwise in dev or test than in train.",
        "The score is then of other data than those learnt from, and thresholds tuned on dev move.",
        "draw the files from one source at random, or know that they differ",
    ),
    # -- leaks and conflicts -------------------------------------------------------------------------------------------
    "leak-same": Code(
        "Nearly all rows of dev or test stand in train.",
        "The score says how well rows are remembered, and nothing about new ones.",
        "name another file; without `--dev` a part of train is held out",
    ),
    "leak-exact": Code(
        "Rows of dev or test stand in train, word for word.",
        "What was learnt by heart is scored as if it had been understood.",
        "take them out of train (or of dev and test)",
    ),
    "leak-near": Code(
        "Rows of dev or test stand in train with a word or two changed.",
        "They are nearly as easy as those that were learnt, so the score is too high.",
        "take them out of train (or of dev and test); split by document or by source",
    ),
    "leak-within": Code(
        "A file has the same or nearly the same row several times.",
        "Such rows weigh more than others, and a random split puts some of them on both sides.",
        "keep one of each, unless the repetition is meant",
    ),
    "leak-context": Code(
        "Contexts of dev or test stand in train, with other questions.",
        "The model has read them: questions about new texts are harder than the score says.",
        "split by article; a hold-out of bertft's keeps articles together",
    ),
    "conflict-label": Code(
        "The same text stands several times, with different labels.",
        "No model can be right on all of them, and the loss pulls both ways.",
        "decide on one label, or learn sets of labels (`multilabel`)",
    ),
    "conflict-split": Code(
        "A text of dev or test has another label there than in train.",
        "Scored so, what was rightly learnt counts as an error.",
        "decide on one label",
    ),
    # -- tags ----------------------------------------------------------------------------------------------------------
    "scheme-invalid": Code(
        "A tag may not follow the one before it in the file's scheme, as an I- without its B-.",
        "Tools read such sequences in different ways; bertft reads them as conlleval does.",
        "correct the tag; `--set options.on_bad_tags=fail` refuses such files",
    ),
    "scheme-mixed": Code(
        "Files are tagged in different schemes.",
        "bertft converts them; other tools that see these files may not.",
        "nothing need be done; convert one of them if other tools read it",
    ),
    "scheme-type": Code(
        "One name is tagged as one type nearly always, and here as another.",
        "Most such places are slips, and they teach the model to doubt what is clear.",
        "look at the place; correct the type unless it is meant",
    ),
    "scheme-untagged": Code(
        "A name that is nearly always tagged is not tagged here.",
        "A forgotten entity teaches the model to overlook its like, and is scored as invented.",
        "look at the place; tag it unless it is no entity there",
    ),
    "scheme-space": Code(
        "A character span begins or ends with white space, or holds nothing else.",
        "Spans are learnt by word: blanks are cut off, and a span without a word is left out.",
        "trim the span",
    ),
    "scheme-cut": Code(
        "A character span begins or ends inside a word.",
        "It is widened to whole words, so what is learnt is not what was marked.",
        "mark whole words",
    ),
    "scheme-overlap": Code(
        "Two character spans overlap.",
        "A word has one tag: the later of the spans is left out.",
        "keep one of them",
    ),
    "scheme-row": Code(
        "A row's tags or spans cannot be read.",
        "Training stops at such a row.",
        "correct the row; there is one tag for every word",
    ),
    "scheme-nothing": Code(
        "No row has an entity.",
        "A model that tags nothing would be right everywhere.",
        "is this the column of the tags? name it with `--columns tags=N`",
    ),
    "scheme-long": Code(
        "An entity has very many words.",
        "It is mostly a missing `O` or `B-`, or two columns that are out of step.",
        "look at the place",
    ),
    # -- questions -----------------------------------------------------------------------------------------------------
    "qa-offset": Code(
        "An answer does not stand at its `answer_start`.",
        "bertft looks for it; other tools learn the wrong words in silence.",
        "count `answer_start` in characters from 0, after all edits of the context",
    ),
    "qa-lost": Code(
        "An answer stands nowhere in its context, or several times with no offset that says which.",
        "The question is left out of training and of the score.",
        "an answer is a piece of its context, to the letter",
    ),
    "qa-row": Code(
        "A question's answers cannot be read.",
        "Training stops at such a row.",
        'write answers as [{"text": "1066", "answer_start": 12}], or [] where there is none',
    ),
    "qa-contrary": Code(
        "A question is marked as impossible, and has answers.",
        "One of the two is wrong, so the question is left out.",
        "take away the answers or the mark",
    ),
    "qa-share": Code(
        "The share of questions without an answer differs much between files, or is very large.",
        "Where train has none the model always answers; where it has many it learns to answer nothing.",
        "train on questions of both kinds, in about the shares of the data to come",
    ),
    "qa-duplicate": Code(
        "A question is asked twice of one context.",
        "It weighs double, and where the answers differ one of them counts as an error.",
        "keep one of them, with all answers",
    ),
    "qa-edge": Code(
        "An answer begins or ends inside a word, or with white space.",
        "The model answers in whole tokens, so its answer cannot be the gold one to the letter.",
        "mark whole words",
    ),
    "qa-long": Code(
        "An answer has more words than `options.max_answer_length` has tokens.",
        "The model cannot give it.",
        "`--set options.max_answer_length=N` makes room, or mark a shorter answer",
    ),
    # -- texts ---------------------------------------------------------------------------------------------------------
    "text-unreadable": Code(
        "A row cannot be read.",
        "Training stops at such a row.",
        "correct the row",
    ),
    "text-encoding": Code(
        "Bytes of a line are not of the file's encoding.",
        "Parts of the file were saved in different encodings, or it is named wrongly.",
        "convert it to UTF-8, or name its encoding: `--encoding cp1252`",
    ),
    "text-empty": Code(
        "A text is empty or all white space.",
        "There is nothing to learn from it, but its label counts.",
        "leave the row out",
    ),
    "text-document": Code(
        "There is one document only.",
        "Next sentence prediction takes half of its second texts from other documents.",
        "write a blank line between documents, or leave `options.objective` out",
    ),
    "text-html": Code(
        "Texts have HTML tags or entities (`<br>`, `&amp;`).",
        "They are split into many tokens that mean nothing, and what is predicted later may have none.",
        "take the markup out: `html.unescape` of Python, an HTML parser",
    ),
    "text-mojibake": Code(
        "Texts were decoded with the wrong encoding once (`Ã©` for `é`, `â€™` for `’`).",
        "Words with such letters are other words to the model.",
        "read the original with its right encoding (`--encoding`), or mend it with `ftfy`",
    ),
    "text-replaced": Code(
        "Texts have U+FFFD, which stands where a letter could not be decoded.",
        "What stood there is lost.",
        "read the original with its right encoding",
    ),
    "text-control": Code(
        "Texts have control characters or invisible marks.",
        "Tokenizers drop them or make unknown tokens of them; some hide or turn what is displayed.",
        "take them out",
    ),
    # -- the model -----------------------------------------------------------------------------------------------------
    "model-unknown": Code(
        "Many sub-tokens are unknown to the model.",
        "All unknown words look alike to it.",
        "choose an encoder whose vocabulary has the script: `bertft models`",
    ),
    "model-pieces": Code(
        "Words are cut into many pieces.",
        "The vocabulary is of another language or field: sequences get long and pieces mean little.",
        "choose an encoder of the language: `bertft models`",
    ),
    "model-script": Code(
        "Most letters are of a script that the model was not made for.",
        "It knows such words by single letters at best.",
        "choose an encoder of the language: `bertft models`",
    ),
    "model-case": Code(
        "The model lower-cases its input, and entities are told by capital letters here.",
        "What tells `Rice` from `rice` is gone before the model sees it.",
        "try a cased encoder: `--model bert-base-cased`, `--model distilbert-cased`",
    ),
    "model-windowed": Code(
        "Texts are longer than the model's window.",
        "They are read in overlapping windows: nothing is lost, but training takes longer.",
        "an encoder with a longer window is modernbert-base; `options.window` sets its length",
    ),
    "model-cut": Code(
        "Texts do not fit and are cut.",
        "What is cut off is never read.",
        "shorten the texts, or choose an encoder with a longer window (modernbert-base)",
    ),
    "model-vanished": Code(
        "Words vanish in the tokenizer's normaliser.",
        "Each is read as one unknown token.",
        "take out invisible characters, or choose another encoder",
    ),
    # -- the training --------------------------------------------------------------------------------------------------
    "train-rate": Code(
        "The learning rate is outside what is known to work for encoders.",
        "Too high a rate diverges or forgets what was pretrained, too low a one learns nothing.",
        "leave it out: it is chosen by the encoder's size and the batch",
    ),
    "train-epochs": Code(
        "There are very many epochs, or less than one.",
        "Published fine-tuning takes 2 to 20; more learns rows by heart, less leaves some unseen.",
        "3 is usual, up to 20 for a few hundred rows",
    ),
    "train-steps": Code(
        "Training has very few steps.",
        "The head begins at random, and takes some hundred steps to become useful.",
        "more epochs (`--set trainer.num_train_epochs=20`), or smaller batches (`--set batch_tokens=256`)",
    ),
    "train-batch": Code(
        "The batch is very large, or a single row.",
        "Large batches have few steps, single rows a noisy gradient; both need another learning rate.",
        "8 to 64 rows are usual; leave it out and it is chosen",
    ),
    "train-warmup": Code(
        "The warm-up takes most of the training, or is longer than all of it.",
        "The learning rate never gets to where it should be.",
        "a tenth is usual: `--set trainer.warmup_steps=0.1`",
    ),
    "train-few": Code(
        "Train has very few rows.",
        "Scores of a hold-out from so few rows are chance.",
        "`--folds 5` scores every row by a model that did not see it",
    ),
    "train-cost": Code(
        "About how long training takes, and how much memory.",
        "An hour is better planned than waited for.",
        "a smaller encoder, fewer epochs or `--limit` make it shorter",
    ),
}


def explain(code: str) -> str:
    """Return the longer text of a code; raises UsageError for one that is not in the table."""
    if code not in CODES:
        kinds = ", ".join(sorted({f"{known.partition('-')[0]}-" for known in CODES}))
        raise UsageError(f"unknown code {code!r}", help=did_you_mean(code, CODES, f"codes begin with {kinds}"))
    found = CODES[code]
    return f"{code}\n\n{found.what}\n\nWhy it matters: {found.why}\n\nWhat to do: {found.fix}"
