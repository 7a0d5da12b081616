"""Masked language modelling: adapt an encoder to the texts of a domain, and fill in words. Rows with `text`.

Training masks tokens anew in every epoch (`text/masking.py`), and reads texts in blocks of the window's length, or each
by itself. Evaluation masks the same tokens each time and reads each text by itself, in overlapping windows where it is
long, so that the figures of both are alike. Prediction answers texts in which `[MASK]` or `<mask>` stands.

Besides, a model may be told to tell of two texts whether the second follows the first (`mlm+nsp`), or in which order
they stand (`mlm+sop`). What it reads is then pairs of sentences of one document (`text/pairs.py`), drawn anew in every
epoch of training, and the same in every evaluation. The label of a pair is the target of its first token.

Or a generator learns the masked tokens, and the model which tokens are its guesses (`rtd`, `heads/replaced.py`).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np

from bertft.data.conll import Unit
from bertft.data.jsonl import encode
from bertft.data.row import Row
from bertft.errors import DataError, ModelError, UsageError
from bertft.scoring.calibration import Evidence, Judged
from bertft.scoring.outcomes import Outcomes
from bertft.tasks.base import (
    Counts,
    EncodedText,
    Encoder,
    Head,
    Logits,
    Objective,
    Parameters,
    Scale,
    Window,
    WindowSize,
)
from bertft.tasks.classify import text_of
from bertft.tasks.guesses import Candidate, Filled, Summary, measured, scores_of, summary
from bertft.tasks.passages import Passage, chunk_windows, corrupted_windows, documents, shown_pairs, units_of
from bertft.text.masking import FIXED, Masking, seed_of
from bertft.text.pairs import Told
from bertft.text.windows import cut, owners

_MASK = re.compile(r"\[MASK\]|<mask>")
_TOLD: dict[str, Told] = {"mlm+nsp": "nsp", "mlm+sop": "sop"}


@dataclass(frozen=True, slots=True)
class MlmOptions:
    """The keys of `options:` in a recipe for this task."""

    mlm_probability: float = 0.15
    """The share of the tokens that are to be guessed."""
    objective: Literal["mlm", "mlm+nsp", "mlm+sop", "rtd"] = "mlm"
    """What is learnt: masked tokens, with them next sentence prediction or sentence order prediction, or replaced token
    detection."""
    generator: str | None = None
    """With rtd, the masked language model whose guesses replace tokens; null is the one beside the model, or a new one
    of a quarter of its width."""
    whole_word: bool = False
    """Whether the tokens of a word are chosen together (BERT's second release; Cui et al. 2021 for Chinese)."""
    packing: Literal["blocks", "lines"] = "blocks"
    """What training reads: blocks of the window's length over all texts, or each text by itself."""
    top_k: int = 5
    """The candidates of a prediction."""
    window: int | None = None
    """Tokens per window, specials included; null is the model's length, at most 512."""
    stride: int | None = None
    """Tokens that neighbouring windows share, but not in training; null is a quarter of the window."""

    def __post_init__(self) -> None:
        if not 0 < self.mlm_probability < 1:
            raise UsageError(f"options.mlm_probability: {self.mlm_probability:g} is not between 0 and 1")
        if self.top_k < 1:
            raise UsageError(f"options.top_k: {self.top_k} is less than 1")
        if self.told is not None and self.packing == "lines":
            raise UsageError(
                f"options.packing: with {self.objective}, windows hold two texts of one document", help="leave it out"
            )
        if self.generator is not None and not self.detects:
            fact = f"options.generator: there is none with {self.objective}, only with rtd"
            raise UsageError(fact, help="leave it out")

    @property
    def told(self) -> Told | None:
        """What is told of a pair; None where there are none."""
        return _TOLD.get(self.objective)

    @property
    def detects(self) -> bool:
        """Whether replaced tokens are detected."""
        return self.objective == "rtd"


@dataclass(frozen=True, slots=True)
class Mlm:
    """The task. `seed` is that of the masks of evaluation."""

    name: ClassVar[str] = "mlm"
    options_class: ClassVar[type] = MlmOptions
    wanted: ClassVar[tuple[tuple[str, ...], ...]] = (("text",),)
    presplit: ClassVar[bool] = False
    unit: ClassVar[Unit] = "sentence"
    context: ClassVar[int] = 0
    scale: ClassVar[Scale | None] = None

    options: MlmOptions = field(default_factory=MlmOptions)
    seed: int = 0
    encoder: Encoder | None = None
    """What writes tokens as text."""

    @property
    def best_metric(self) -> str:
        # the better the generator, the harder its guesses are to detect: neither says alone which model is better
        return "total_loss" if self.options.detects else "loss"

    @property
    def headline(self) -> tuple[str, ...]:
        told = self.options.told
        more = (f"{told}_accuracy",) if told else ("rtd_loss", "rtd_f1", "total_loss") if self.options.detects else ()
        return ("loss", "perplexity", "accuracy", *more)

    # -- rows to examples ----------------------------------------------------------------------------------------------

    def parse(self, row: Row, *, labelled: bool) -> Passage:
        if row.error is not None:
            raise row.error
        text = text_of(row, "text")
        masks = () if labelled else tuple(found.span() for found in _MASK.finditer(text))
        if not labelled and not masks:
            raise DataError(
                "the text has no mask to be filled", place=row.place, help="write [MASK] where a word is missing"
            )
        line = len(row.lines) == 1 and row.lines[0].content == text
        return Passage(row.place, text, masks, line)

    def taught(self, example: Passage, prediction: Filled) -> Passage:
        return example

    def group(self, example: Passage) -> tuple[Hashable, ...]:
        return (example.text,) if example.strange is None else (example.text, example.strange)

    def labels_of(self, example: Passage) -> Iterator[str]:
        return iter(())

    def prepare(self, examples: Iterable[Passage]) -> tuple[Self, list[str]]:
        return self, []

    def convert(self, examples: Sequence[Passage]) -> tuple[list[Passage], list[str], list[str]]:
        kept = [example for example in examples if example.text.strip()]
        if not kept:
            raise DataError("there is no text in the file")
        blank = len(examples) - len(kept)
        if self.options.told is not None:
            return *documents(examples, self.options.told), []
        return kept, [f"{blank:,} blank texts left out"] if blank else [], []

    # -- examples to windows, logits to predictions --------------------------------------------------------------------

    def head(self) -> Head:
        told, detects = self.options.told, self.options.detects
        return Head(
            "AutoModelForPreTraining" if told or detects else "AutoModelForMaskedLM",
            (),
            vocabulary=True,
            told=told,
            generator=(self.options.generator or "") if detects else None,
        )

    def objective(self, examples: Sequence[Passage]) -> Objective:
        options = self.options
        return Objective("masked", share=options.mlm_probability, told=options.told, detects=options.detects)

    def prepared(self, state: Mapping[str, Any], scale: Scale | None) -> Self:
        return replace(self, seed=state["seed"])

    def unscaled(self) -> Self:
        return self

    def tune(self, pairs: Sequence[tuple[Passage, Filled]]) -> Self:
        return self

    def with_parameters(self, parameters: Parameters) -> Self:
        return self

    def with_encoder(self, encoder: Encoder) -> Self:
        return replace(self, encoder=encoder)

    def features(
        self, examples: Sequence[Passage], encoder: Encoder, window: WindowSize
    ) -> tuple[list[Window], Counts]:
        mask, special = _mask_of(encoder), encoder.special
        corpus = not all(example.masks for example in examples)
        detects, told = self.options.detects, self.options.told
        masking = Masking(mask, encoder.ordinary, self.options.mlm_probability, detects) if corpus else None
        if masking is not None and (detects or told is not None):
            how: dict[str, Any] = {"whole_word": self.options.whole_word, "masking": masking, "random_of": self._random}
            if told is None:
                return corrupted_windows(examples, encoder, window, **how)
            return shown_pairs(told, examples, encoder, window, **how)
        own = encoder.token(mask)
        room = window.length - encoder.single.specials
        windows: list[Window] = []
        counts = Counts()
        texts = [_MASK.sub(own, example.text) if example.masks else example.text for example in examples]
        encoded = encoder.encode_texts(texts, with_words=self.options.whole_word)
        for index, (example, text) in enumerate(zip(examples, encoded, strict=True)):
            shown, chosen = list(text.ids), [i for i, token in enumerate(text.ids) if token == mask]
            if masking is not None and not example.masks:
                shown, chosen = self._masked(text, special, masking)
            elif len(chosen) != len(example.masks):
                fact = f"the tokenizer finds {len(chosen)} mask tokens in the text, which has {len(example.masks)}"
                raise DataError(fact, place=example.place)
            ranges = cut(len(shown), room=room, stride=window.stride)
            by_window: list[list[int]] = [[] for _ in ranges]
            for position, owner in zip(chosen, owners(chosen, ranges), strict=True):
                by_window[owner].append(position)
            kept = [(where, positions) for where, positions in zip(ranges, by_window, strict=True) if positions]
            for (start, end), positions in kept:
                input_ids, segments = encoder.single.build(shown[start:end])
                owned = [position - start + len(encoder.single.before) for position in positions]
                target = None if example.masks else [text.ids[position] for position in positions]
                windows.append(Window(index, input_ids, segments, target, owned))
            counts += Counts(
                examples=1,
                tokens=len(shown),
                windows=len(kept),
                windowed=len(ranges) > 1,
                unknown=text.unknown,
            )
        return windows, counts

    def lessons(self, examples: Sequence[Passage], encoder: Encoder, window: WindowSize) -> tuple[list[Window], Counts]:
        """Return windows whose targets are units, to be masked when they are drawn; none shares tokens with another."""
        _mask_of(encoder)
        if self.options.told is not None:
            return chunk_windows(examples, encoder, window, whole_word=self.options.whole_word)
        room = window.length - encoder.single.specials
        special, template = encoder.special, encoder.single
        encoded = encoder.encode_texts([example.text for example in examples], with_words=self.options.whole_word)
        counts = Counts()
        pieces: list[tuple[int, list[int], list[int]]] = []  # of one text, or of all: whose it is, ids and units
        owner: list[int] = []
        ids: list[int] = []
        units: list[int] = []
        for index, text in enumerate(encoded):
            own = units_of(text, special, whole_word=self.options.whole_word)
            long = len(own) > room
            counts += Counts(examples=1, tokens=len(own), windowed=long, unknown=text.unknown)
            if self.options.packing == "lines":
                pieces += [(index, text.ids[a:b], own[a:b]) for a, b in cut(len(own), room=room, stride=0)]
                continue
            if ids:  # a border between two texts
                owner += [index] * len(template.after)
                ids += template.after
                units += [FIXED] * len(template.after)
            first = len(ids)
            owner += [index] * len(own)
            ids += text.ids
            units += [unit if unit == FIXED else unit + first for unit in own]
        pieces += [(owner[a], ids[a:b], units[a:b]) for a, b in cut(len(ids), room=room, stride=0) if b > a]
        windows = []
        for index, piece, own in pieces:
            input_ids, segments = template.build(piece)
            target = [FIXED] * len(template.before) + own + [FIXED] * len(template.after)
            windows.append(Window(index, input_ids, segments, target))
        return windows, counts + Counts(windows=len(windows))

    def _masked(self, text: EncodedText, special: frozenset[int], masking: Masking) -> tuple[list[int], list[int]]:
        """Return the ids that evaluation shows of a text, and the positions of what is to be guessed.

        They follow from the text alone: every evaluation has the same ones, whatever rows stand beside this one.
        """
        units = units_of(text, special, whole_word=self.options.whole_word)
        shown, chosen = masking.apply(text.ids, units, self._random(text.ids))
        return shown.tolist(), chosen.tolist()

    def _random(self, ids: Sequence[int]) -> np.random.Generator:
        return np.random.default_rng([self.seed, seed_of(ids)])

    def reduce(self, windows: Sequence[Window], logits: Sequence[Logits]) -> list[Summary]:
        options = self.options
        how: dict[str, Any] = {"told": options.told is not None, "detects": options.detects, "top_k": options.top_k}
        return [summary(window, scores, **how) for window, scores in zip(windows, logits, strict=True)]

    def decode(self, example: Passage, summaries: Sequence[Summary]) -> Filled:
        if not example.masks:
            return measured(summaries)
        if self.encoder is None:
            raise TypeError("a task without a tokenizer cannot write tokens")
        token = self.encoder.token
        return Filled(
            masks=tuple(
                tuple(Candidate(token(i), chance) for i, chance in zip(ids, chances, strict=True))
                for one in summaries
                for ids, chances in zip(one.ids.tolist(), one.chances.tolist(), strict=True)
            )
        )

    # -- predictions to scores and answers -----------------------------------------------------------------------------

    def score(self, pairs: Sequence[tuple[Passage, Filled]]) -> dict[str, Any]:
        guesses = [guess for _, guess in pairs]
        if not any(guess.total for guess in guesses):
            raise DataError("none of the tokens was masked: there is too little text to score")
        return scores_of(guesses, told=self.options.told, detects=self.options.detects)

    def outcomes(self, pairs: Sequence[tuple[Passage, Filled | None]]) -> Outcomes:
        told, detects = self.options.told, self.options.detects

        def more(guess: Filled) -> tuple[float, ...]:
            return guess.detected if detects else (guess.pairs, guess.told) if told else ()

        return Outcomes(
            "masked",
            [example.place for example, _ in pairs],
            [(example.text,) for example, _ in pairs],
            [example.text for example, _ in pairs],
            [None if guess is None else (guess.total, guess.loss, guess.right, *more(guess)) for _, guess in pairs],
            labels=("rtd",) if detects else (told,) if told else (),
            unit="document" if told else "text",
        )

    def detailed(self) -> Self:
        return self

    def evidence(self, pairs: Sequence[tuple[Passage, Filled]]) -> Evidence | None:
        return None

    def tempered(self, temperature: float) -> Self:
        return self

    def judged(self, pairs: Sequence[tuple[Passage, Filled]]) -> Judged | None:
        return None

    def at_least(self, score: float) -> Self:
        raise UsageError("--min-score: a mask has several candidates, each with its score", help="leave it out")

    def scores_of(self, prediction: Filled) -> list[float]:
        return []

    def verdicts(self, pairs: Sequence[tuple[Passage, Filled]]) -> list[tuple[float, bool]]:
        return []

    def references(self, pairs: Sequence[tuple[Passage, Filled]]) -> tuple[list[Any], list[Any]]:
        return [], []  # what was guessed of a corpus is not kept

    def render(self, example: Passage, prediction: Filled, *, scores: bool) -> dict[str, Any]:
        return {
            "masks": [
                {
                    "start": start,
                    "end": end,
                    "candidates": [{"token": one.token, "score": round(one.score, 4)} for one in candidates],
                }
                for (start, end), candidates in zip(example.masks, prediction.masks, strict=True)
            ]
        }

    @property
    def cell_names(self) -> tuple[str, ...]:
        return ("masks",)

    def cells(self, example: Passage, prediction: Filled) -> dict[str, str]:
        return {"masks": encode(self.render(example, prediction, scores=False)["masks"])}

    def columns(self, example: Passage, prediction: Filled) -> tuple[list[str], list[str]] | None:
        return None

    # -- the bundle ----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {"seed": self.seed}

    @classmethod
    def restore(cls, options: Mapping[str, Any], state: Mapping[str, Any]) -> Self:
        seed = state["seed"] if state else 0
        if not isinstance(seed, int) or seed < 0:
            raise ValueError(f"{seed!r} is no seed")
        chosen = MlmOptions(**options)
        # what has been trained has its generator beside it, wherever it came from
        return cls(replace(chosen, generator=None) if state else chosen, seed)

    @classmethod
    def of_model(cls, labels: Sequence[str], config: Mapping[str, Any]) -> Self:
        (name, *_) = config["architectures"]
        if not name.endswith("ForPreTraining"):
            return cls()
        return cls(MlmOptions(objective="mlm+sop" if name.startswith("Albert") else "mlm+nsp"))


def _mask_of(encoder: Encoder) -> int:
    """Return the id of the mask token; raises ModelError for a tokenizer that has none."""
    if encoder.mask is None:
        raise ModelError("the tokenizer has no mask token", help="choose an encoder that was trained with one")
    return encoder.mask
