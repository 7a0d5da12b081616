"""A linear-chain conditional random field over the emissions of a token classification head.

Lafferty, McCallum and Pereira, "Conditional Random Fields" (ICML 2001); over a neural tagger as in Lample et al.,
"Neural Architectures for Named Entity Recognition" (NAACL 2016), section 2.2. Decoding is in `text/bio.py`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

_PACE = 20.0
"""Learnt scores are this times their weights. Adam moves a weight by about the learning rate a step, whatever its
gradient: at an encoder's 5e-5 scores of whole units would take a hundred epochs, and CRFs are trained at about 1e-3."""


class Crf(torch.nn.Module):
    """Scores of a first label and of each transition, learnt on top of fixed penalties."""

    def __init__(self, transitions: npt.NDArray[np.float32], initial: npt.NDArray[np.float32]) -> None:
        super().__init__()
        self.transitions = torch.nn.Parameter(torch.zeros(transitions.shape))  # (from, to)
        self.initial = torch.nn.Parameter(torch.zeros(initial.shape))  # (labels,)
        self.register_buffer("_transition_penalties", torch.from_numpy(transitions.copy()), persistent=False)
        self.register_buffer("_initial_penalties", torch.from_numpy(initial.copy()), persistent=False)

    def scores(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the transition (from, to) and initial (labels,) scores, penalties included."""
        transitions = _PACE * self.transitions + self.get_buffer("_transition_penalties")
        return transitions, _PACE * self.initial + self.get_buffer("_initial_penalties")

    def arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the scores as numpy arrays."""
        with torch.no_grad():
            transitions, initial = self.scores()
            return {"transitions": transitions.float().cpu().numpy(), "initial": initial.float().cpu().numpy()}

    def negative_log_likelihood(
        self, emissions: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Return -log p(labels) of each sequence (batch,).

        `emissions` are (batch, words, labels), `labels` and the boolean `mask` (batch, words); the mask is true for the
        first words of each row and false for padding. A row whose first label cannot be the first of a text goes on
        from another window; any label can have been the one before.
        """
        transitions, initial = self.scores()
        emissions = emissions.float()
        begins = self.get_buffer("_initial_penalties")[labels[:, 0]] == 0  # (batch,)
        initial = torch.where(begins.unsqueeze(1), initial, 0.0)  # (batch, labels)
        picked = emissions.gather(2, labels.unsqueeze(2)).squeeze(2)  # (batch, words)
        steps = transitions[labels[:, :-1], labels[:, 1:]]  # (batch, words - 1)
        first = initial.gather(1, labels[:, :1]).squeeze(1)  # (batch,)
        path = first + (picked * mask).sum(1) + (steps * mask[:, 1:]).sum(1)  # (batch,)
        alpha = initial + emissions[:, 0]  # (batch, labels)
        for i in range(1, emissions.shape[1]):
            step = torch.logsumexp(alpha.unsqueeze(2) + transitions, dim=1) + emissions[:, i]
            alpha = torch.where(mask[:, i].unsqueeze(1), step, alpha)
        return torch.logsumexp(alpha, dim=1) - path
