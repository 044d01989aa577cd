"""Recommendations of a trained model: the items with the highest scores after a history, by their ids in the log."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from adamct.batch import Batch, DataSpec, Seen
from adamct.checkpoint import read_checkpoint
from adamct.errors import InputError, on_one_line, require
from adamct.evaluation.ranking import top_items
from adamct.hub.folder import MODEL, read_folder
from adamct.hub.remote import download, is_name
from adamct.models.base import NextItemModel
from adamct.serving.rebuild import rebuild


class Recommendation(NamedTuple):
    """An item and its score. Scores are comparable only within one history."""

    item: str
    score: float


class Recommender:
    """A trained model and the ids of its items.

    Args:
        model: the model with trained weights, on the device to use.
        item_ids: the ids of the items; position i - 1 is item number i.
        max_len: the number of most recent items of a history that the model uses.
    """

    def __init__(self, model: NextItemModel, item_ids: Sequence[str], max_len: int):
        self.model = model.eval()
        self.item_ids = item_ids
        self.max_len = max_len
        self.item_numbers = {item_id: number for number, item_id in enumerate(item_ids, 1)}

    def recommend(
        self, histories: Sequence[Sequence[str]], k: int = 10, unseen: bool = True
    ) -> list[list[Recommendation]]:
        """Recommend items after histories. The people need not be in the training data.

        Args:
            histories: the item ids of each person, oldest first. Unknown ids are ignored. A model that reads
                times leaves its bias for times out.
            k: the largest number of items for each person.
            unseen: whether to leave out the items of the history.

        Returns:
            A list for each history, with the best item first. It is empty if no item of the history is known.

        Raises:
            InputError: the model has an embedding for each user, a history is not a sequence of ids, or no item of any
                history is known.
        """
        name = type(self.model).__name__
        require(not self.model.uses_user_embedding, f"{name} can recommend only to the users it was trained on")
        numbers = [self.look_up(history, index) for index, history in enumerate(histories)]
        if not numbers:
            return []
        indices = [index for index, history in enumerate(numbers) if history]
        require(bool(indices), f"histories={list(histories)!r:.200}: must have an item that the model knows")
        not_empty = [numbers[index] for index in indices]
        offsets, users = np.cumsum([0, *map(len, not_empty)]), np.zeros(len(not_empty), np.int64)
        items, scores = self.top(np.concatenate(not_empty), offsets, users, k, unseen)
        lists: list[list[Recommendation]] = [[] for _ in numbers]
        for index, best_items, best_scores in zip(indices, items.tolist(), scores.tolist(), strict=True):
            pairs = zip(best_items, best_scores, strict=True)
            lists[index] = [Recommendation(str(self.item_ids[item - 1]), score) for item, score in pairs if item]
        return lists

    def look_up(self, history: Sequence[str], index: int) -> list[int]:
        """Return the numbers of a history's items, without unknown items.

        Args:
            history: the item ids.
            index: the position of the history among others, for the error message.

        Raises:
            InputError: the history is not a sequence of texts, or it is a text, which is a sequence of characters.
        """
        ids = None if isinstance(history, str | bytes) or not isinstance(history, Iterable) else list(history)
        if ids is None or not all(isinstance(item, str) for item in ids):
            raise InputError(f"histories[{index}]={history!r:.80}: must be a list of item ids, such as ['77', '7']")
        return [self.item_numbers[item] for item in ids if item in self.item_numbers]

    def build_batch(
        self,
        items: Int[np.ndarray, " T"],
        offsets: Int[np.ndarray, " bounds"],
        users: Int[np.ndarray, " B"],
        times: Real[np.ndarray, " T"] | None = None,
    ) -> Batch:
        """Build a batch of the histories ``items[offsets[b] : offsets[b + 1]]``, cut to ``max_len``. Targets are 0."""
        lengths = np.minimum(np.diff(offsets), self.max_len)
        position = np.arange(self.max_len if self.model.pad_to_max_len else int(lengths.max()))
        index = np.minimum(offsets[1:, None] - lengths[:, None] + position, len(items) - 1)
        is_item = position < lengths[:, None]
        padded = np.where(is_item, items[index], 0)
        device = self.model.device
        tensors = (torch.from_numpy(array.astype(np.int64)).to(device) for array in (users, padded, lengths))
        user, item_seq, seq_len = tensors
        whole = None if times is None else np.where(is_item, np.rint(times[index]).astype(np.int64), 0)
        padded_times = None if whole is None else torch.from_numpy(whole).to(device)
        return Batch(user, item_seq, seq_len, torch.zeros_like(user), padded_times)

    @torch.no_grad()
    def top(
        self,
        items: Int[np.ndarray, " T"],
        offsets: Int[np.ndarray, " bounds"],
        users: Int[np.ndarray, " B"],
        k: int,
        unseen: bool,
        times: Real[np.ndarray, " T"] | None = None,
    ) -> tuple[Int[Tensor, "B k"], Float[Tensor, "B k"]]:
        """Return the items with the highest scores after the histories ``items[offsets[b] : offsets[b + 1]]``.

        No history is empty. Only models with an embedding for each user read ``users``. ``times`` has the time of each
        item; None if they are unknown. The scores of all items are never in memory at once.

        Returns:
            The numbers of the items and their scores on the CPU, the best first; number 0 if there are no more items.

        Raises:
            InputError: k is less than 1, or a score is NaN.
        """
        require(isinstance(k, int | np.integer) and k >= 1, f"k={k!r}: must be a whole number of at least 1")
        require(unseen in (True, False), f"unseen={unseen!r}: must be True or False")
        seen = seen_items(items, offsets, self.model.device) if unseen else None
        all_scores = self.model.scores(self.build_batch(items, offsets, users, times))
        numbers, scores = (best.cpu() for best in top_items(all_scores, k, seen))
        if scores.isnan().any():
            raise InputError("the scores of some histories are NaN: the weights must be finite; train the model again")
        return numbers, scores


def seen_items(items: Int[np.ndarray, " T"], offsets: Int[np.ndarray, " bounds"], device: torch.device) -> Seen:
    """Return the items of the histories ``items[offsets[b] : offsets[b + 1]]``, with repetitions."""
    row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    selected = items[offsets[0] : offsets[-1]].astype(np.int64)
    item_of_pair, row_of_pair = (torch.from_numpy(array).to(device) for array in (selected, row))
    return Seen(item_of_pair, row_of_pair, torch.from_numpy(offsets - offsets[0]))


def load(source: str | Path, device: str = "cpu") -> Recommender:
    """Load a recommender from a run's ``checkpoints/best.ckpt``, an exported folder or the Hugging Face Hub.

    The source need not be trusted: nothing that it holds is executed.

    Args:
        source: the path of a checkpoint or of a folder that ``python -m adamct.hub export`` wrote, without any other
            file; or the name of such a model on the Hub, ``OWNER/NAME``.
        device: the device for the model, such as ``cuda``.

    Raises:
        InputError: the source cannot be read, names classes that models are not made of, or has weights of another
            model; or the device does not exist.
    """
    path = Path(source)
    if is_name(str(source)) and not path.exists():
        path = download(str(source))
    content = read_folder(path) if path.is_dir() else read_checkpoint(path, {})
    try:
        recommender = restore(content)
    except Exception as error:  # a damaged file may raise anything
        damaged = f"is not a complete checkpoint of a model: {type(error).__name__}: "
        prefix = "" if isinstance(error, InputError) else damaged
        raise InputError(f"{path}: {prefix}{on_one_line(error):.400}") from error
    try:
        recommender.model.to(device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without the device
        raise InputError(f"device={device}: {on_one_line(error)}") from error
    return recommender


def restore(content: dict[str, Any]) -> Recommender:
    """Build the recommender of a checkpoint on the CPU.

    Raises:
        InputError: the checkpoint lacks the item ids, or its facts contradict each other.
    """
    require("item_ids" in content, "has no item_ids: train the model again")
    item_ids, sizes = content["item_ids"], content["identity"]["dataset"]
    are_texts = isinstance(item_ids, list) and all(isinstance(item_id, str) for item_id in item_ids)
    require(are_texts and len(set(item_ids)) == len(item_ids), "its item_ids must be a list of different texts")
    num_items, num_users, max_len = (sizes[key] for key in ("num_items", "num_users", "max_len"))
    for size in (num_items, num_users, max_len):
        require(type(size) is int and size >= 1, f"has the size {size!r:.80}: must be a whole number of at least 1")
    has_times = sizes.get("has_times", False)  # older checkpoints lack it, and no model of theirs reads times
    require(isinstance(has_times, bool), f"has has_times={has_times!r:.80}: must be true or false")
    require(num_items == len(item_ids), f"has num_items={num_items}, but {len(item_ids)} item_ids")
    spec = DataSpec(num_items, num_users, max_len, torch.zeros(num_items + 1), has_times=has_times)
    model = rebuild(content["identity"]["model"], spec)
    state = content["state_dict"].items()
    model.load_state_dict({key.removeprefix(MODEL): value for key, value in state if key.startswith(MODEL)})
    return Recommender(model, item_ids, max_len)
