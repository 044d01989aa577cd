"""What a trained model recommends: the items it scores highest after a history, by the ids they have in the log."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from hydra.utils import instantiate
from jaxtyping import Float, Int
from omegaconf import OmegaConf
from torch import Tensor

from adamct.batch import Batch, DataSpec, Seen
from adamct.checkpoint import read_checkpoint
from adamct.errors import InputError, require
from adamct.keys import flat
from adamct.models.base import NextItemModel
from adamct.ranking import top_items

TRUSTED = ("adamct.", "torch.nn.")
"""Where the classes that a checkpoint names may be from: nothing else in it is called."""


class Recommendation(NamedTuple):
    """An item and its score, which only compares with others of the same history."""

    item: str
    score: float


class Recommender:
    """A trained model and the ids of its items.

    Args:
        model: with its trained weights, on the device that is to be used.
        item_ids: position i - 1 for item i.
        max_len: the most recent items of a history that the model looks at.
    """

    def __init__(self, model: NextItemModel, item_ids: Sequence[str], max_len: int):
        self.model = model.eval()
        self.item_ids = item_ids
        self.max_len = max_len
        self.numbers = {name: number for number, name in enumerate(item_ids, 1)}

    def recommend(
        self, histories: Sequence[Sequence[str]], k: int = 10, unseen: bool = True
    ) -> list[list[Recommendation]]:
        """The best items for people the model need not have seen: it knows only items.

        Args:
            histories: the ids of each one's items, oldest first; those the model does not know are passed over.
            k: how many, at most.
            unseen: whether to leave out the items of the history.

        Returns:
            For each history the best item first.

        Raises:
            InputError: the model is one that learns a vector for each user, or nothing of a history is known to it.
        """
        require(not self.model.knows_users, f"{type(self.model).__name__} knows only the users it was trained on")
        known = [[self.numbers[item] for item in history if item in self.numbers] for history in histories]
        for history, given in zip(known, histories, strict=True):
            require(bool(history), f"none of these items is known to the model: {', '.join(map(str, given))!r:.200}")
        if not known:
            return []
        offsets = np.cumsum([0, *map(len, known)])
        items, scores = self.top(np.concatenate(known), offsets, np.zeros(len(known), np.int64), k, unseen)
        return [
            [Recommendation(str(self.item_ids[i - 1]), score) for i, score in zip(*row, strict=True) if i]
            for row in zip(items.tolist(), scores.tolist(), strict=True)
        ]

    def batch(
        self, items: Int[np.ndarray, " T"], offsets: Int[np.ndarray, " bounds"], users: Int[np.ndarray, " B"]
    ) -> Batch:
        """What of the histories ``items[offsets[b] : offsets[b + 1]]`` the model looks at; targets are 0."""
        kept = np.minimum(np.diff(offsets), self.max_len)
        position = np.arange(self.max_len if self.model.full_length else int(kept.max()))
        index = np.minimum(offsets[1:, None] - kept[:, None] + position, len(items) - 1)
        item_seq = np.where(position < kept[:, None], items[index], 0)
        device = self.model.item_table().device
        tensors = (torch.from_numpy(array.astype(np.int64)).to(device) for array in (users, item_seq, kept))
        user, padded, seq_len = tensors
        return Batch(user, padded, seq_len, torch.zeros_like(user))

    @torch.no_grad()
    def top(
        self,
        items: Int[np.ndarray, " T"],
        offsets: Int[np.ndarray, " bounds"],
        users: Int[np.ndarray, " B"],
        k: int,
        unseen: bool,
    ) -> tuple[Int[Tensor, "B k"], Float[Tensor, "B k"]]:
        """The best items, by their numbers, after the histories ``items[offsets[b] : offsets[b + 1]]``, none empty.

        Of ``users`` only models take notice that learn a vector for each. The scores are never in memory all at once.

        Returns:
            Items and scores on the CPU, the best first; items are 0 where no more are left.

        Raises:
            InputError: k is less than 1, or a score is no number.
        """
        require(k >= 1, f"k={k}: must be at least 1")
        queries, table = self.model.queries(self.batch(items, offsets, users)), self.model.item_table()
        seen = seen_items(items, offsets, table.device) if unseen else None
        numbers, scores = (found.cpu() for found in top_items(queries, table, self.model.item_bias(), k, seen))
        if scores.isnan().any():
            raise InputError("the model scores some histories with NaN: its weights are no numbers")
        return numbers, scores


def seen_items(items: Int[np.ndarray, " T"], offsets: Int[np.ndarray, " bounds"], device: torch.device) -> Seen:
    """Return the items of the histories ``items[offsets[b] : offsets[b + 1]]``, as often as they occur."""
    row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    of_histories = items[offsets[0] : offsets[-1]].astype(np.int64)
    item, owner = (torch.from_numpy(array).to(device) for array in (of_histories, row))
    return Seen(item, owner, torch.from_numpy(offsets - offsets[0]))


def load(checkpoint: str | Path, device: str = "cpu") -> Recommender:
    """What a run's ``checkpoints/best.ckpt`` recommends; it needs no other file.

    Raises:
        InputError: the file cannot be read, or names classes that are not this project's.
    """
    path = Path(checkpoint)
    read = read_checkpoint(path, {})
    require("item_ids" in read, f"{path}: does not say what its items are called: train the model again")
    model = build(path, read["identity"])
    weights = {key: value for key, value in read["state_dict"].items() if key.startswith("model.")}
    model.load_state_dict({key.removeprefix("model."): value for key, value in weights.items()})
    return Recommender(model.to(device), read["item_ids"], read["identity"]["dataset"]["max_len"])


def build(path: Path, identity: dict[str, Any]) -> NextItemModel:
    """The model a checkpoint says it is of, untrained."""
    for key, value in flat(identity["model"]).items():
        trusted = not key.endswith("_target_") or str(value).startswith(TRUSTED)
        require(trusted, f"{path}: names {value}, which is not of this project: it is not loaded")
    sizes = identity["dataset"]
    counts = torch.zeros(sizes["num_items"] + 1)
    spec = DataSpec(sizes["num_items"], sizes["num_users"], sizes["max_len"], counts)
    return instantiate(OmegaConf.create(identity["model"]), _partial_=True)(spec)
