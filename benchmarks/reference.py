"""The plain way, to measure against: the code one would write first with PyTorch, as most libraries do.

The models are the project's own, inside `adamct.kernels.plain`. Only the code around them differs.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from adamct.batch import Batch, EvaluationBatch
from adamct.models.base import VectorModel
from datamodules.sequences import Examples, Sequences

PAIRS = 2048
"""User-candidate pairs scored at once."""


def epochs(sequences: Sequences, examples: Examples, batch_size: int) -> Iterator[Batch]:
    """Yield shuffled batches of one epoch after another, with every history padded to the full length beforehand."""
    padded = sequences.batch(examples, sequences.max_len)
    parts = [part for part in padded if part is not None]  # without times that are missing
    loader = DataLoader(TensorDataset(*parts), batch_size, shuffle=True)
    while True:
        for batch in loader:
            yield Batch(*batch)


def loss(model: VectorModel, batch: Batch) -> Tensor:
    """Return the cross-entropy of the logits of all items."""
    queries, targets = model.training_pairs(batch)
    return F.cross_entropy(F.linear(queries, model.item_table(), model.item_bias()), targets) + model.penalty(batch)


def sampled_ranks(model: VectorModel, batch: EvaluationBatch) -> Tensor:
    """Return the rank of each target among its negatives, encoding a user's history once for each candidate."""
    histories = batch.histories
    candidates = torch.cat([histories.target[:, None], batch.candidates.negatives], 1)  # (B, 1 + C)
    pair_user = torch.arange(len(histories.user), device=candidates.device).repeat_interleave(candidates.shape[1])
    pairs = zip(pair_user.split(PAIRS), candidates.flatten().split(PAIRS), strict=True)
    scores = torch.cat([pair_scores(model, histories, *pair) for pair in pairs]).view(candidates.shape)
    return 1 + (scores[:, 1:] >= scores[:, :1]).sum(1)


def pair_scores(model: VectorModel, batch: Batch, rows: Tensor, candidates: Tensor) -> Tensor:
    """Return the score of one candidate for each history."""
    scores = (model.queries(batch.select(rows)) * model.item_table()[candidates]).sum(1)
    bias = model.item_bias()
    return scores if bias is None else scores + bias[candidates]


def full_ranks(model: VectorModel, batch: EvaluationBatch) -> Tensor:
    """Return the rank of each target among all items, by sorting them."""
    histories = batch.histories
    return places(F.linear(model.queries(histories), model.item_table(), model.item_bias()), histories.target)


def unseen_ranks(model: VectorModel, batch: EvaluationBatch) -> Tensor:
    """Return the rank of each target among the items that its user has not had, by masking the others and sorting."""
    histories, (_, seen) = batch
    scores = F.linear(model.queries(histories), model.item_table(), model.item_bias())
    scores[seen.row, seen.item] = -torch.inf
    return places(scores, histories.target)


def places(scores: Tensor, target: Tensor) -> Tensor:
    """Return the place of each target, from 1, where all items are sorted by their scores."""
    order = scores[:, 1:].argsort(dim=1, descending=True)
    return 1 + (order == target[:, None] - 1).nonzero()[:, 1]
