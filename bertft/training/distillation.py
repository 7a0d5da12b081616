"""The loss of a student: what its teacher answers, what the data says, and how the teacher sees the text.

`alpha * soft + (1 - alpha) * hard + hidden * cosine`, each a sum over what is counted (an example, a labelled token, a
start and an end, a label of a set) divided by how many there are, as in `losses.py`. The soft part is the divergence
KL(teacher || student) of answers whose logits are divided by the temperature T, times T^2 (Hinton et al. 2015,
"Distilling the Knowledge in a Neural Network", section 2); the third is 1 - cos of the last hidden states (Sanh et al.
2019, "DistilBERT", section 3). The teacher answers within the step: its hidden states would not fit anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional

from bertft.bundle import store
from bertft.console import say
from bertft.encoders.families import width
from bertft.encoders.load import fold_scale
from bertft.errors import ModelError
from bertft.inference.pytorch import outputs, takes_segments
from bertft.recipe import Distill
from bertft.tasks.base import IGNORED, Objective, Task
from bertft.training import losses
from bertft.training.teacher import Teacher


class Distillation:
    """A teacher with its weights, asked about each batch that its student learns from."""

    def __init__(self, teacher: Any, student: Any, settings: Distill) -> None:
        """`teacher` has its outputs in the student's order."""
        self._teacher = teacher.eval().requires_grad_(False)
        self._settings = settings
        self._student_takes_segments = takes_segments(student)
        self.takes_segments = takes_segments(teacher) or self._student_takes_segments
        """Whether one of the two models does."""
        self._hidden: dict[str, torch.Tensor] = {}
        widths = width(teacher.config), width(student.config)
        self._cosine = settings.hidden if widths[0] == widths[1] else 0.0
        self._asks = bool(settings.alpha or self._cosine)
        if settings.hidden and not self._cosine:
            say(f"the student is {widths[1]} wide, the teacher {widths[0]}: hidden states are not compared")
        if self._cosine:
            for name, model in (("teacher", teacher), ("student", student)):
                model.base_model.register_forward_hook(self._keeper(name), prepend=True)  # before pooling changes them
        self._answers = torch.empty(0)

    @classmethod
    def load(cls, teacher: Teacher, task: Task[Any, Any, Any], student: Any) -> Distillation:
        """Load the teacher's weights; raises ModelError where it has no trained head."""
        # the student's labels put the teacher's in the student's order
        head = replace(task.head(), pooling=teacher.bundle.task.head().pooling)
        checkpoint = teacher.bundle.checkpoint
        with torch.random.fork_rng(devices=[]):  # a student draws the numbers that it would draw without a teacher
            model, kept = store.load_weights(checkpoint, head)
        if not kept:
            raise ModelError("the teacher has no trained head", place=checkpoint.name)
        if (scale := task.scale) is not None:  # values, where the student learns standard scores
            fold_scale(model, -scale.mean / scale.deviation, 1 / scale.deviation)
        settings = teacher.settings
        say(
            f"teacher {checkpoint.name}: {model.num_parameters() / 1e6:.3g} M parameters, "
            f"temperature {settings.temperature:g}, alpha {settings.alpha:g}, hidden {settings.hidden:g}"
        )
        return cls(model, student, settings)

    def to(self, device: torch.device) -> None:
        """Move the teacher."""
        self._teacher.to(device)

    @torch.no_grad()
    def ask(self, inputs: dict[str, torch.Tensor]) -> None:
        """Let the teacher answer a batch; leave in `inputs` what the student takes."""
        if self._asks:
            names = ["input_ids", "attention_mask", *(["token_type_ids"] if takes_segments(self._teacher) else [])]
            self._answers = outputs(self._teacher(**{name: inputs[name] for name in names})).float()
        if not self._student_takes_segments:
            inputs.pop("token_type_ids", None)

    def loss(
        self,
        objective: Objective,
        logits: torch.Tensor,
        labels: torch.Tensor,
        *,
        hard: Callable[[], torch.Tensor],
        owner: torch.Tensor,
        mask: torch.Tensor,
        count: torch.Tensor | int | None,
    ) -> torch.Tensor:
        """Return the loss of the batch that the teacher was asked about last; `hard` gives that of its labels.

        `logits` are as in `losses.loss`; `owner` (windows,) says whose window each is, `mask` (windows, tokens) which
        tokens are there.
        """
        alpha = self._settings.alpha
        if not self._asks:
            return hard()
        number = count if count is not None else labels.ne(IGNORED).sum()
        total = (1 - alpha) * hard() if alpha < 1 else logits.new_zeros((), dtype=torch.float32)
        if alpha:
            logits, answers = logits.float(), self._answers
            if objective.over_windows and len(owner) > len(labels):
                answers = losses.over_windows(objective.over_windows, answers, owner, len(labels))
            total = (
                total
                + alpha
                * soft(objective, logits, answers, labels, mask=mask, temperature=self._settings.temperature)
                / number
            )
        if self._cosine:
            apart = 1 - functional.cosine_similarity(
                self._hidden.pop("student").float(), self._hidden.pop("teacher").float(), dim=2
            )  # (windows, tokens)
            total = total + self._cosine * _per_item(objective, apart, labels, owner, mask) / number
        return total

    def _keeper(self, name: str) -> Callable[[Any, Any, Any], None]:
        def keep(module: Any, _: Any, found: Any) -> None:
            if name == "teacher" or module.training:
                self._hidden[name] = found.last_hidden_state

        return keep


def soft(
    objective: Objective,
    logits: torch.Tensor,
    answers: torch.Tensor,
    labels: torch.Tensor,
    *,
    mask: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """Return the sum of divergences of a student's `logits` from a teacher's `answers`, both as in `losses.loss`.

    Of tokens those count that have a label; of values it is the sum of squares, without a temperature.
    """
    if objective.loss == "values":
        return functional.mse_loss(logits.squeeze(1), answers.squeeze(1), reduction="sum")
    logits, answers = logits / temperature, answers / temperature
    if objective.loss == "labels":  # each is a yes or no of its own
        wanted = torch.sigmoid(answers)
        entropy = functional.binary_cross_entropy_with_logits(answers, wanted, reduction="sum")
        each = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") - entropy
        return each * temperature**2
    if objective.loss == "tokens":
        known = labels.ne(IGNORED)  # (windows, tokens)
        logits, answers = logits[known], answers[known]  # (labelled, labels)
    elif objective.loss == "spans":
        absent = mask.eq(0).unsqueeze(2)
        least = torch.finfo(logits.dtype).min
        logits, answers = (
            x.masked_fill(absent, least).transpose(1, 2).flatten(0, 1) for x in (logits, answers)
        )  # (starts and ends, tokens)
    student, teacher = functional.log_softmax(logits, dim=-1), functional.log_softmax(answers, dim=-1)
    return temperature**2 * functional.kl_div(student, teacher, reduction="sum", log_target=True)


def _per_item(
    objective: Objective, apart: torch.Tensor, labels: torch.Tensor, owner: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Return the sum over labelled tokens, or the sum of each item's mean over its tokens, once for each of its labels.

    So, divided by the number of labels, it does not depend on how a step is cut into batches.
    """
    if objective.per_token:
        return apart[labels.ne(IGNORED)].sum()
    sums = apart.new_zeros((2, len(labels)))  # of the distances, and of the tokens
    sums = sums.index_add(1, owner, torch.stack(((apart * mask).sum(1), mask.sum(1).to(apart.dtype))))
    return (sums[0] / sums[1]).sum() * (labels.numel() / len(labels))
