"""The model card: what was trained on what, how good it is, where it fails, how to use it with bertft and without."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bertft.bundle import generator, limits, metadata
from bertft.console import ERRORS, shown
from bertft.encoders import adapters
from bertft.encoders.load import Checkpoint
from bertft.errors import inline
from bertft.recipe import Recipe
from bertft.tasks.base import Task, WindowSize

_LABELS = 100
"""So many labels are listed; `metrics.json` and `config.json` have all."""
_LONGEST = 200
_LIMITS = "## Limits"
_SETTINGS = (
    "learning_rate", "num_train_epochs", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps",
    "warmup_steps", "weight_decay", "lr_scheduler_type", "optim", "label_smoothing_factor", "max_grad_norm",
)  # fmt: skip
"""What of `trainer:` a card shows: others may name paths, hosts and accounts."""


def render(
    recipe: Recipe,
    task: Task[Any, Any, Any],
    metrics: Mapping[str, Any],
    data: Mapping[str, Any],
    *,
    checkpoint: Checkpoint,
    window: WindowSize,
    computed: Mapping[str, Any],
    details: Mapping[str, Any],
    seeds: int | None = None,
) -> str:
    """Return the card as Markdown.

    `data` is what was read of each split, `details` are those of the last split in `metrics`, as `eval` has them,
    `seeds` is of how many models this one is the best on dev.
    """
    head = task.head()
    base = metadata.base(checkpoint)
    scores = {
        split: {**found, "headline": [key for key in task.headline if key in found]} for split, found in metrics.items()
    }
    front = metadata.front(architecture=head.architecture, task=task.name, base=base, scores=scores, data=data)
    files = [
        (split, _inert(metadata.file_of(info)), f"{info['rows']:,}", f"`{info['sha256']}`")
        for split, info in data.items()
    ]
    parts = [
        f"---\n{front}\n---",
        f"# {task.name}, fine-tuned from {_inert(base.name)}",
        _labels(head.labels),
        *_scores(task, scores, data, details, _BEST.format(seeds) if seeds else None),
        "## Data",
        _table(("split", "file", "rows", "sha256"), files),
        "## Use",
        "    bertft predict MODEL input\n    bertft eval MODEL --data test-file",
        *_plain(task, adapter=_keeps_adapter(recipe)),
        "## Training",
        _table(("setting", "value"), _settings(recipe, window, computed)),
        f"Trained with seed {recipe.seed}; `recipe.yaml` repeats the run."
        + (" `license` is that of the encoder it was trained from." if base.licence else ""),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def with_limit(card: str, sentence: str) -> str:
    """Return a card with one more sentence among its limits, of what was not known when it was rendered."""
    return card.replace(f"{_LIMITS}\n\n", f"{_LIMITS}\n\n- {sentence}\n", 1)


def _labels(labels: Sequence[str]) -> str:
    if not labels:
        return ""
    more = f" and {len(labels) - _LABELS:,} more" if len(labels) > _LABELS else ""
    return f"Labels: {', '.join(map(_inert, labels[:_LABELS]))}{more}."


def _scores(
    task: Task[Any, Any, Any],
    scores: Mapping[str, Mapping[str, Any]],
    data: Mapping[str, Any],
    details: Mapping[str, Any],
    chosen: str | None,
) -> Iterator[str]:
    """Yield the parts on how good the model is and where it fails."""
    if not scores:
        yield "It was measured on nothing: there were neither dev nor test rows."
        return
    yield "## Scores"
    rows = [
        (split, *(_figure(key, found, found.get("intervals") or {}) for key in task.headline), f"{found['support']:,}")
        for split, found in scores.items()
    ]
    yield _table(("split", *task.headline, "support"), rows)
    yield _explained(scores, task)
    split, last = list(scores.items())[-1]
    if calibration := last.get("calibration"):
        how = f"{100 * calibration['ece']:.1f} points on {split}"
        if sure := calibration.get("intervals"):
            how += ", 95 % interval {:.1f} to {:.1f}".format(*(100 * bound for bound in sure["ece"]))
        yield f"Its confidence is off by {how} (expected calibration error)."
    if per_label := last.get("per_label"):
        listed = sorted(per_label.items(), key=lambda item: -item[1]["support"])
        keys = ("precision", "recall", "f1")
        more = f"; `metrics.json` has the other {len(listed) - _LABELS:,}" if len(listed) > _LABELS else ""
        yield f"By label, on {split}{more}:"
        yield _table(
            ("label", *keys, "support"),
            [(_inert(label), *(shown(k, s[k]) for k in keys), f"{s['support']:,}") for label, s in listed[:_LABELS]],
        )
    yield _LIMITS
    found = (
        limits.sentences(split, {**last, **details}, key=last["headline"][0], name=_inert) if last["headline"] else []
    )
    if chosen:
        found.append(chosen)
    if split not in data:
        found.append(
            "No rows were held out: each was scored by a model of its fold, and this model has learnt them all."
        )
    elif split != "test":
        found.append("There was no test set: dev, which the figures are of, may have chosen the checkpoint.")
    found.append("The figures are of rows like those below; other text may give others.")
    yield "\n".join(f"- {sentence}" for sentence in found)


def _explained(scores: Mapping[str, Mapping[str, Any]], task: Task[Any, Any, Any]) -> str:
    """Say what the figures in the table of scores are."""
    units = [
        f"{how['units']:,} {how['unit']}s of {split}"
        for split, found in scores.items()
        if (how := found.get("bootstrap"))
    ]
    other = [key for key in task.headline if key in ERRORS]
    percent = "In percent" + (f", but for {' and '.join(other)}" if other else "")
    if len(other) == len(task.headline):
        percent = "No percentages"
    told = [percent + (f", with 95 % intervals (bootstrap over {', '.join(units)})." if units else ".")]
    state = task.state()
    if any(state.get(key) for key in ("thresholds", "no_answer_threshold")):
        told.append(_CHOSEN)
    return " ".join(told)


_BEST = "It is the best on dev of {} models that differ in their seeds, which flatters the dev figures."
_CHOSEN = "The thresholds in `bertft.json` were chosen on dev, which flatters the dev figures, and those of test not."


def _figure(key: str, scores: Mapping[str, Any], sure: Mapping[str, Sequence[float]]) -> str:
    if key not in scores:
        return ""
    bounds = f" ({' to '.join(shown(key, bound) for bound in sure[key])})" if key in sure else ""
    return shown(key, scores[key]) + bounds


def _settings(recipe: Recipe, window: WindowSize, computed: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what the training was like, but for names of files and places."""
    for key in _SETTINGS:
        if (value := recipe.trainer.get(key)) is not None:
            yield f"`{key}`", _inert(str(value))
    for key in ("layer_decay", "freeze", "unfreeze"):
        if (value := getattr(recipe, key)) is not None:
            yield f"`{key}`", _inert(str(value))
    for key, value in recipe.peft.items():
        if value is not None:
            yield f"`peft.{key}`", _inert(str(value))
    if (distilled := recipe.distillation) is not None:
        yield "teacher", _inert(metadata.base(Checkpoint(distilled.teacher, distilled.teacher, False)).name)
        for key in ("layers", "temperature", "alpha", "hidden"):
            if (value := getattr(distilled, key)) is not None:
                yield f"`distill.{key}`", _inert(str(value))
    if recipe.batch_tokens is not None:
        yield "`batch_tokens`", f"{recipe.batch_tokens:,}"
    yield "window", f"{window.length:,} tokens, neighbours share {window.stride:,}"
    yield "seed", str(recipe.seed)
    for key in ("precision", "device"):
        if key in computed:
            yield key, _inert(str(computed[key]))


def _keeps_adapter(recipe: Recipe) -> bool:
    return recipe.adapters is not None and not recipe.adapters.merges


def _plain(task: Task[Any, Any, Any], *, adapter: bool = False) -> Iterator[str]:
    """Yield what plain transformers can do with the model, how, and what it cannot."""
    head = task.head()
    lines = [f"In plain transformers: `{head.architecture}.from_pretrained(MODEL)` gives the same logits."]
    if head.pooling != "cls":
        lines = [
            f"**Plain transformers cannot express this model**: its head reads the {head.pooling} over the tokens "
            f"(`options.pooling`), where `{head.architecture}` reads the first one and gives other logits."
        ]
    elif adapter:
        lines = [
            f"`{head.architecture}.from_pretrained(MODEL)` alone is the encoder as it was, which gives other logits: "
            f"with the adapter in `{adapters.FOLDER}/` on it, they are the same."
        ]
    if head.crf is not None:
        lines.append(
            "These are a CRF's emissions; its transitions, which `bertft_head.safetensors` has, are not used there."
        )
    if task.context:
        lines.append(
            f"bertft reads up to {task.context:,} sub-tokens before and after each sentence of a document with it "
            "(`options.context`), as in training; what is given to it here without them may be answered otherwise."
        )
    if head.detects:
        lines.append(
            "They say of each token whether it was replaced. The generator, which fills masks, is "
            f'`AutoModelForMaskedLM.from_pretrained(MODEL, subfolder="{generator.FOLDER}")`, with MODEL\'s tokenizer.'
        )
    lines.append(
        "What it cannot express is in `bertft.json`: how answers are decoded, thresholds, and windows over long texts."
    )
    yield " ".join(lines)
    if head.pooling == "cls":
        yield _code(task, adapter=adapter)


def _code(task: Task[Any, Any, Any], *, adapter: bool) -> str:
    """Return a program that asks the model something without bertft."""
    architecture, problem = task.head().architecture, task.head().problem_type
    given, answer = '"A text."', "model.config.id2label[int(logits.argmax())]"
    if architecture == "AutoModelForTokenClassification":
        given = '"Words of one sentence".split(), is_split_into_words=True'
        answer = "[model.config.id2label[i] for i in logits[0].argmax(-1).tolist()]  # one a token, specials too"
    elif architecture == "AutoModelForQuestionAnswering":
        given = '"Who lives there?", "Nobody lives there."'
        answer = "tokenizer.decode(inputs.input_ids[0][logits[0].argmax() : logits[1].argmax() + 1])"
    elif task.head().detects:
        answer = "logits[0].sigmoid().tolist()  # one a token: the probability that it was replaced"
    elif architecture in ("AutoModelForMaskedLM", "AutoModelForPreTraining"):
        given = 'f"A {tokenizer.mask_token}."'
        answer = "tokenizer.decode(logits[0, inputs.input_ids[0] == tokenizer.mask_token_id].argmax(-1))"
    elif "text_b" in task.wanted[0]:
        given = '"A text.", "Another text."'
    if problem == "multi_label_classification":
        answer = "dict(zip(model.config.id2label.values(), logits[0].sigmoid().tolist()))"
    elif problem == "regression":
        answer = "logits.squeeze().tolist()"
    outputs = "model(**inputs)"
    qa = architecture == "AutoModelForQuestionAnswering"
    name = "prediction_logits" if task.head().told else "logits"
    logits = f"[{outputs}.start_logits, {outputs}.end_logits]" if qa else f"{outputs}.{name}"
    return "\n".join(
        (
            "```python",
            "import torch",
            *(["from peft import PeftModel"] if adapter else []),
            f"from transformers import AutoTokenizer, {architecture}",
            "",
            'name = "."  # this directory, or the name of its repository',
            "tokenizer = AutoTokenizer.from_pretrained(name)",
            f"model = {architecture}.from_pretrained(name)",
            *([f'model = PeftModel.from_pretrained(model, f"{{name}}/{adapters.FOLDER}")'] if adapter else []),
            f'inputs = tokenizer({given}, return_tensors="pt")',
            "with torch.no_grad():",
            f"    logits = {logits}",
            f"print({answer.partition('  #')[0]}){''.join(answer.partition('  #')[1:])}",
            "```",
        )
    )


def _table(head: Sequence[str], rows: Iterator[tuple[str, ...]] | Sequence[tuple[str, ...]]) -> str:
    """Return cells, which are Markdown, as a table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def _inert(text: str) -> str:
    """Return `text` as Markdown that shows it and does nothing else: no markup, no link, no end of a cell or line."""
    line = inline(text)
    if len(line) > _LONGEST:
        line = f"{line[:_LONGEST]}…"
    if not line.strip():
        return "(blank)"
    if re.search(r"[|<>`\[\]]", line) is None:
        return f"`{line}`"
    return line.translate({ord(c): f"&#{ord(c)};" for c in string.punctuation})
