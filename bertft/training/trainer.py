"""The Trainer: transformers' own, with the project's batches and losses, evaluated through its one inference path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from typing_extensions import override

from bertft import signals
from bertft.console import detail, say
from bertft.data.row import Place
from bertft.errors import DataError, UsageError
from bertft.heads import replaced
from bertft.heads.selection import only
from bertft.inference.batches import padded
from bertft.inference.engine import Engine
from bertft.inference.pytorch import free_memory, out_of_memory, outputs, pair_outputs
from bertft.scoring.outcomes import DETECTION
from bertft.tasks.base import IGNORED, Objective, Template, Window
from bertft.tasks.passages import built
from bertft.text.masking import Masking, draws
from bertft.text.pairs import Chunk, Told, draw
from bertft.training import layers, losses, parallel, unpadded
from bertft.training.distillation import Distillation
from bertft.training.items import Items
from bertft.training.progress import Progress
from bertft.training.resumable import ResumableTrainer
from bertft.training.sampling import Batches

_TRIES = 8
"""Chunks that are looked at, at most, for one that is long enough."""


class Pairing(NamedTuple):
    """What is told of the pairs that are drawn, and the special tokens around them."""

    told: Told
    template: Template


Watch = Callable[[int, float], None]
"""Given the number of each evaluation, from 1, and the score that models are compared by."""


class Drawn(torch.utils.data.Dataset[dict[str, Any]]):
    """The items as Trainer draws them. `input_ids` is the longest window's, for its sampler that groups by length."""

    def __init__(
        self, items: Items, *, masking: Masking | None = None, pairing: Pairing | None = None, seed: int = 0
    ) -> None:
        """With `masking`, tokens are chosen by seed, epoch and item: a resumed run masks the same ones.

        With `pairing` the items are chunks, and pairs are drawn by the same.
        """
        self._items = items
        self._masking = masking
        self._pairing = pairing
        self._rows = items.rows if pairing else np.zeros(0)
        self._seed = seed
        # shared with the processes that load batches, which may outlive an epoch
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_() if masking else torch.zeros(1)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the items are drawn for."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self._items)

    def place(self, index: int) -> Place:
        """Return where the row of an item stands."""
        return self._items.place(index)

    @override
    def __getitem__(self, index: int) -> dict[str, Any]:
        windows = self._items[index]
        if self._masking is not None:
            random = np.random.default_rng([self._seed, int(self._epoch), index])
            if self._pairing is not None:
                windows = [self._drawn(index, self._pairing, self._masking, random)]
            else:
                windows = [_masked(window, self._masking, random) for window in windows]
        return {"item": index, "windows": windows, "input_ids": max((window.input_ids for window in windows), key=len)}

    def _drawn(self, index: int, pairing: Pairing, masking: Masking, random: np.random.Generator) -> Window:
        """Return a pair of an item's chunk, masked; the target of its first token says what it is."""
        pair = draw(pairing.told, self._chunk(index), lambda size: self._stranger(index, size, random), random)
        ids, segments, units = built(pair, pairing.template)
        window = _masked(Window(0, ids, segments, units), masking, random)
        return replace(window, target=[pair.label, *cast("Sequence[int]", window.target)[1:]])

    def _stranger(self, index: int, size: int, random: np.random.Generator) -> Chunk:
        """Return a chunk of another document, of `size` tokens if that is easily found."""
        first, end = np.searchsorted(self._rows, [self._rows[index], self._rows[index] + 1]).tolist()
        found: list[Chunk] = []
        while len(found) < _TRIES and not (found and len(found[-1].ids) >= size):
            other = int(random.integers(len(self) - (end - first)))
            found.append(self._chunk(other if other < first else other + end - first))
        return max(found, key=lambda chunk: len(chunk.ids))

    def _chunk(self, index: int) -> Chunk:
        (window,) = self._items[index]
        starts = np.flatnonzero(np.diff(window.segments, prepend=-1)).tolist()
        return Chunk(list(window.input_ids), list(cast("Sequence[int]", window.target)), starts)


def _masked(window: Window, masking: Masking, random: np.random.Generator) -> Window:
    """Return a window whose target are units as the model is shown it, with the tokens that were chosen as target."""
    shown, chosen = masking.apply(window.input_ids, cast("Sequence[int]", window.target), random)
    labels = np.full(len(shown), IGNORED)
    labels[chosen] = np.array(window.input_ids)[chosen]
    return replace(window, input_ids=shown.tolist(), target=labels.tolist())


class Collator:
    """Make a batch of items: the inputs of all their windows (windows, tokens), `labels`, and whose window each is."""

    def __init__(self, objective: Objective, pad: int, *, segments: bool) -> None:
        self._objective = objective
        self._pad = pad
        self._segments = segments

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return the model's inputs, `labels` of `losses.targets`, `owner` (windows,), and which `items` these are.

        `kept` (tokens,) are the places in (windows * tokens) that are no padding.
        What pairs are, which the targets of their first tokens say, is `pairs` (windows,); by what a generator guesses
        tokens is `draws` (windows, tokens).
        """
        groups: list[Sequence[Window]] = [item["windows"] for item in items]
        windows = [window for group in groups for window in group]
        arrays = padded(windows, self._pad, segments=self._segments)
        batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
        batch["labels"] = losses.targets(self._objective, [group[0].target for group in groups])
        if self._objective.told is not None:
            batch["pairs"] = batch["labels"][:, 0].clone()
            batch["labels"][:, 0] = IGNORED
        if self._objective.detects:
            batch["draws"] = torch.zeros(batch["labels"].shape)
            for row, window in zip(batch["draws"], windows, strict=True):
                row[: len(window.input_ids)] = torch.from_numpy(draws(window.input_ids))
        batch["kept"] = torch.from_numpy(np.flatnonzero(arrays["attention_mask"]))
        batch["owner"] = torch.tensor([i for i, group in enumerate(groups) for _ in group])
        batch["items"] = torch.tensor([item["item"] for item in items])
        return batch


class _Loader(torch.utils.data.DataLoader[dict[str, torch.Tensor]]):
    """A DataLoader that hands the epoch to its batch sampler, as Trainer asks; each process has its share already."""

    def set_epoch(self, epoch: int) -> None:
        cast("Batches", self.batch_sampler).set_epoch(epoch)


@contextmanager
def usable_settings() -> Iterator[None]:
    """Turn what Trainer says of settings that do not fit together, or need another package, into a UsageError."""
    try:
        yield
    except (ValueError, ImportError, RuntimeError, TypeError) as error:
        raise UsageError(f"the recipe's `trainer:` cannot be used: {' '.join(str(error).split())[:500]}") from error


class EncoderTrainer(ResumableTrainer):
    """A Trainer whose `evaluate` is `Engine.evaluate` on the dev examples, so that it cannot disagree with `eval`.

    The engine must wrap the model that is trained. `facts["parts"]` is in how many a batch is computed: it grows where
    memory does not suffice. `pads` says whether batches are computed with their padding; see `training/unpadded.py`.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        dev: Sequence[Any],
        progress: Progress,
        objective: Objective,
        batches: Batches | None,
        layer_decay: float | None = None,
        distillation: Distillation | None = None,
        request: signals.Request | None = None,
        watch: Watch | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(compute_loss_func=self._loss, request=request, **arguments)
        self.pads = True
        self._request = request
        self._layer_decay = layer_decay
        self._watch = watch
        self._distillation = distillation
        if distillation is not None:
            distillation.to(self.args.device)
        self._begun: list[dict[str, Any]] = []
        """The micro-batches of this step, so far."""
        self._part: dict[str, Any] = {}
        self._thread: ThreadPoolExecutor | None = None
        self._place = cast("Drawn", self.train_dataset).place
        self._engine = engine
        self._batches = batches
        self._dev = dev
        self._progress = progress
        self._objective = objective
        self._owner = self._mask = torch.empty(0)
        self._pairs: torch.Tensor | None = None
        self._asked: replaced.Asked | None = None

    @override
    def get_train_dataloader(self) -> Any:
        """Return the batches; Trainer's own where the recipe names a sampling strategy."""
        with usable_settings():
            if self._batches is None:
                return super().get_train_dataloader()
            return _Loader(
                cast("Drawn", self.train_dataset),
                batch_sampler=self._batches,
                collate_fn=self.data_collator,
                num_workers=self.args.dataloader_num_workers,
                persistent_workers=self.args.dataloader_persistent_workers,
                pin_memory=self.args.dataloader_pin_memory and self.args.device.type == "cuda",
            )

    @override
    def create_scheduler(self, *arguments: Any, **named: Any) -> Any:
        with usable_settings():
            return super().create_scheduler(*arguments, **named)

    @override
    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        made = self.optimizer is None
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if made and self._layer_decay is not None:
            layers.decay_rates(optimizer, self.model, self._layer_decay)
        return optimizer

    @override
    def _run_epoch(self, *arguments: Any, **named: Any) -> None:
        cast("Drawn", self.train_dataset).set_epoch(named["epoch"])
        super()._run_epoch(*arguments, **named)

    @override
    def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **named: Any) -> Any:
        del inputs["items"]
        kept = inputs.pop("kept")
        self._owner, self._mask, self._pairs = inputs.pop("owner"), inputs["attention_mask"], inputs.pop("pairs", None)
        if self._distillation is not None:
            with self.accelerator.autocast():
                self._distillation.ask(inputs)
        unpadding: AbstractContextManager[None] = nullcontext()
        if not self.pads:
            unpadding = unpadded.without_padding(self.model, unpadded.layout(self._mask, kept))
        with self._selecting(inputs) as self._asked, unpadding:
            return super().compute_loss(model, inputs, *arguments, **named)

    def _selecting(self, inputs: dict[str, Any]) -> AbstractContextManager[replaced.Asked | None]:
        """Return what lets the model see that tokens are masked, where they are."""
        if self._objective.loss != "masked":
            return nullcontext()
        wanted = inputs["labels"].flatten().ne(IGNORED).nonzero().squeeze(1)  # (masked,)
        if self._objective.detects:
            return replaced.corrupted(self.model, wanted, inputs.pop("draws").flatten()[wanted])
        return cast("AbstractContextManager[None]", only(self.model, wanted))

    def _loss(self, found: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None) -> torch.Tensor:
        """Return the loss of a batch, as Trainer asks for it."""
        logits = outputs(found)
        how = self._objective.over_windows
        if how and len(self._owner) > len(labels):
            logits = losses.over_windows(how, logits, self._owner, len(labels))
        count, mask = num_items_in_batch, self._mask

        def hard() -> torch.Tensor:
            if self._asked is not None:
                guesses, filled = self._asked.corruption
                generator = losses.loss(self._objective, guesses, labels, count=count, model=self.model)
                detection = losses.of_replaced(logits, filled, labels, mask, share=self._objective.share, count=count)
                return generator + DETECTION * detection
            found_loss = losses.loss(self._objective, logits, labels, count=count, model=self.model, mask=mask)
            if self._pairs is None:
                return found_loss
            return found_loss + losses.of_pairs(pair_outputs(found), self._pairs, labels, count=count)

        if self._distillation is None:
            return hard()
        return self._distillation.loss(
            self._objective, logits, labels, hard=hard, owner=self._owner, mask=mask, count=count
        )

    @override
    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Return the dev metrics, each under `eval_`, and tell the progress and the callbacks."""
        model: Any = self.model
        was_training = model.training
        model.eval()
        detail(f"evaluating {len(self._dev):,} rows after step {self.state.global_step:,}")
        # an evaluation can be dropped and done again, but not by one of several processes that wait for each other
        at_once = self._request.at_once() if self._request and self.args.world_size == 1 else nullcontext()
        try:
            with at_once:
                pairs = parallel.evaluate(self._engine, self._dev)
                scores = self._engine.task.tune(pairs).score(pairs)
        finally:
            model.train(was_training)
        wanted = (self.args.metric_for_best_model or "").removeprefix("eval_")
        if wanted and wanted not in scores:
            names = ", ".join(key for key, value in scores.items() if isinstance(value, float))
            raise UsageError(f"trainer.metric_for_best_model: there is no {wanted!r}", help=f"metrics are {names}")
        metrics = {f"eval_{key}": value for key, value in scores.items() if isinstance(value, int | float)}
        self._progress.evaluated({key: scores[key] for key in self._engine.task.headline}, self.state)
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        if self._watch is not None:
            # the history is that of the run from its beginning, wherever it was resumed
            number = sum(f"eval_{wanted}" in entry for entry in self.state.log_history)
            self._watch(number, float(scores[wanted]))
        return metrics

    @override
    def check(self) -> None:
        self._progress.read()
        super().check()

    @override
    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Return the loss of a micro-batch, computed in as many parts as fit into memory: the gradients are the same.

        Raises DataError where one item alone does not fit, UsageError where several processes share the batch.
        """
        self._begun.append(inputs)
        redo = False
        while True:
            try:
                if redo:  # what was added to the gradients of this step is not known
                    model.zero_grad()
                    for earlier in self._begun[:-1]:
                        self._computed(model, earlier, num_items_in_batch)
                loss = self._computed(model, inputs, num_items_in_batch)
                break
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
            self._halve()  # now that the error has gone, whose frames hold what did not fit
            redo = True
        if self.accelerator.sync_gradients:
            self._begun.clear()
        self._progress.step(loss.detach(), self.state.global_step + 1, inputs["items"])
        return loss

    def _computed(self, model: Any, inputs: dict[str, Any], count: torch.Tensor | int | None) -> torch.Tensor:
        """Return the loss of a micro-batch, and add its gradients."""
        if self._thread is None:
            return self._in_parts(model, inputs, count)
        return self._thread.submit(self._in_parts, model, inputs, count).result()

    def _in_parts(self, model: Any, inputs: dict[str, Any], count: torch.Tensor | int | None) -> torch.Tensor:
        if self.facts["parts"] == 1:
            self._part = inputs
            return super().training_step(model, inputs, count)
        losses = []
        for part in split(inputs, self.facts["parts"], per_token=self._objective.per_token):
            self._part = part
            losses.append(super().training_step(model, part, count))
        return torch.stack(losses).sum()

    def _halve(self) -> None:
        items = self._part["items"].tolist()
        if self.args.world_size > 1:  # the others wait for this one's gradients
            raise UsageError(
                "a batch does not fit into memory", help="smaller ones do: `--set batch_tokens=512`, or less"
            )
        if len(items) == 1:
            windows, tokens = self._part["input_ids"].shape
            raise DataError(
                f"this row alone does not fit into memory: {windows} window{'s' * (windows > 1)} of {tokens} tokens",
                place=self._place(items[0]),
                help="shorter windows (`--set options.window=128`) or a smaller encoder need less",
            )
        # a backward pass that has failed leaves its graph in the engine's queue, until another goes through
        torch.zeros(1, requires_grad=True).sum().backward()
        free_memory()
        if self.args.device.type == "cpu":
            # a thread in which oneDNN once had no memory for a kernel's code makes none any more
            if self._thread is not None:
                self._thread.shutdown()
            self._thread = ThreadPoolExecutor(1)
        self.facts["parts"] *= 2
        step, parts = self.state.global_step + 1, self.facts["parts"]
        say(f"a batch does not fit into memory: from step {step:,} on each is computed in {parts} parts, as one")


def split(inputs: Mapping[str, torch.Tensor], parts: int, *, per_token: bool) -> Iterator[dict[str, torch.Tensor]]:
    """Yield a batch, as Collator makes it, in so many parts of whole items, or one an item where those are fewer.

    `per_token` says whether labels are (windows, tokens), and are cut to the longest window of a part as well.
    """
    total = len(inputs["items"])
    cuts = [round(total * i / parts) for i in range(parts + 1)] if parts < total else list(range(total + 1))
    for first, end in pairwise(cuts):
        own = (inputs["owner"] >= first) & (inputs["owner"] < end)  # (windows,)
        longest = int(inputs["attention_mask"][own].sum(1).max())
        part = {}
        for name, values in inputs.items():
            if name == "kept":
                part[name] = inputs["attention_mask"][own, :longest].flatten().nonzero().squeeze(1)
            elif name in ("labels", "items", "pairs"):
                part[name] = values[first:end, :longest] if name == "labels" and per_token else values[first:end]
            else:
                part[name] = values[own] - first if name == "owner" else values[own, :longest]
        yield part
