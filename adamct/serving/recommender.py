"""What a trained model recommends: the items it scores highest after a history, by the ids they have in the log."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from adamct.batch import Batch, DataSpec, Seen
from adamct.checkpoint import read_checkpoint
from adamct.errors import InputError, on_one_line, require
from adamct.evaluation.ranking import top_items
from adamct.models.base import NextItemModel
from adamct.serving.rebuild import rebuild


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
        """Return the best items for people whom the model need not have seen, as it knows only items.

        Args:
            histories: the item ids of each person, oldest first. Ids that the model does not know are passed over.
            k: the number of items for each person, at most.
            unseen: whether to leave out the items of the history.

        Returns:
            For each history the best item first. The list of a history with no known item is empty.

        Raises:
            InputError: the model learns a vector for each user, a history is not a sequence of ids, or no item of any
                history is known.
        """
        require(
            not self.model.uses_user_embedding, f"{type(self.model).__name__} knows only the users it was trained on"
        )
        numbers = [self.known(history, place) for place, history in enumerate(histories)]
        if not numbers:
            return []
        people = [place for place, history in enumerate(numbers) if history]
        require(bool(people), f"none of these items is known to the model: {list(histories)!r:.200}")
        kept = [numbers[place] for place in people]
        offsets, users = np.cumsum([0, *map(len, kept)]), np.zeros(len(kept), np.int64)
        items, scores = self.top(np.concatenate(kept), offsets, users, k, unseen)
        lists: list[list[Recommendation]] = [[] for _ in numbers]
        for place, best, of_best in zip(people, items.tolist(), scores.tolist(), strict=True):
            scored = zip(best, of_best, strict=True)
            lists[place] = [Recommendation(str(self.item_ids[item - 1]), score) for item, score in scored if item]
        return lists

    def known(self, history: Sequence[str], place: int) -> list[int]:
        """Return the numbers of the items that the model knows, of the history at a place among others.

        Raises:
            InputError: it is not a sequence of texts. A text itself would be one, of its characters.
        """
        ids = None if isinstance(history, str | bytes) or not isinstance(history, Iterable) else list(history)
        if ids is None or not all(isinstance(item, str) for item in ids):
            raise InputError(f"histories[{place}]={history!r:.80}: must be a list of item ids, such as ['77', '7']")
        return [self.numbers[item] for item in ids if item in self.numbers]

    def batch(
        self, items: Int[np.ndarray, " T"], offsets: Int[np.ndarray, " bounds"], users: Int[np.ndarray, " B"]
    ) -> Batch:
        """Cut the histories ``items[offsets[b] : offsets[b + 1]]`` to what the model looks at; targets are 0."""
        kept = np.minimum(np.diff(offsets), self.max_len)
        position = np.arange(self.max_len if self.model.pad_to_max_len else int(kept.max()))
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
            InputError: k is less than 1, or a score is NaN.
        """
        require(isinstance(k, int | np.integer) and k >= 1, f"k={k!r}: must be a whole number from 1 on")
        require(unseen in (True, False), f"unseen={unseen!r}: must be True or False")
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
    """Load what a run's ``checkpoints/best.ckpt`` recommends with; it needs no other file.

    The checkpoint need not be trusted: nothing that it holds is executed.

    Args:
        checkpoint: its path.
        device: where the model is to be, such as ``cuda``.

    Raises:
        InputError: the file cannot be read, names classes that models are not made of, or holds weights of another
            model; or there is no such device.
    """
    path = Path(checkpoint)
    content = read_checkpoint(path, {})
    try:
        recommender = restored(content)
    except Exception as error:  # whatever a file may hold
        kind = (
            "" if isinstance(error, InputError) else f"is not a whole checkpoint of a model: {type(error).__name__}: "
        )
        raise InputError(f"{path}: {kind}{on_one_line(error):.400}") from error
    try:
        recommender.model.to(device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: a torch without this kind of device
        raise InputError(f"device={device}: {on_one_line(error)}") from error
    return recommender


def restored(content: dict[str, Any]) -> Recommender:
    """Build what a checkpoint describes, on the CPU, with its weights."""
    require("item_ids" in content, "does not say what its items are called: train the model again")
    item_ids, sizes = content["item_ids"], content["identity"]["dataset"]
    named = isinstance(item_ids, list) and all(isinstance(name, str) for name in item_ids)
    require(named and len(set(item_ids)) == len(item_ids), "its item_ids are not a list of different texts")
    num_items, num_users, max_len = (sizes[key] for key in ("num_items", "num_users", "max_len"))
    for size in (num_items, num_users, max_len):
        require(type(size) is int and size >= 1, f"its sizes are not all whole numbers from 1 on: {size!r:.80}")
    require(num_items == len(item_ids), f"is of {num_items} items, but names {len(item_ids)}")
    model = rebuild(content["identity"]["model"], DataSpec(num_items, num_users, max_len, torch.zeros(num_items + 1)))
    prefix = "model."
    weights = {key.removeprefix(prefix): of for key, of in content["state_dict"].items() if key.startswith(prefix)}
    model.load_state_dict(weights)
    return Recommender(model, item_ids, max_len)
