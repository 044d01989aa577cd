"""``python -m adamct.serving.export CHECKPOINT``: a trained encoder as ONNX, for use without torch.

Needs the extra [export].
"""

import argparse
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.export import Dim

from adamct.batch import Batch, People
from adamct.errors import InputError, explain, require
from adamct.models.base import NextItemModel
from adamct.randomness import Stream, numpy_generator
from adamct.serving.recommender import Recommender, load
from datamodules.columns import Columns
from datamodules.people import people_of_file

TOLERANCE = 1e-3
"""How far a number of a query may be from torch's; by 2e-4 single precision itself is off in SINE, which sharpens."""
RANDOM = ((1, 1), (5, 4), (33, 1_000_000))
"""Batches and longest histories that are made up and compared; no history is longer than the model's."""
BATCH = 256
"""People compared at a time."""
INPUTS = ("item_seq", "seq_len", "user")


class Encoder(nn.Module):
    """A model's queries as a function of tensors alone."""

    def __init__(self, model: NextItemModel):
        super().__init__()
        self.model = model

    def forward(
        self, item_seq: Int[Tensor, "B N"], seq_len: Int[Tensor, " B"], user: Int[Tensor, " B"]
    ) -> Float[Tensor, "B D"]:
        """See `adamct.batch.Batch`."""
        return self.model.queries(Batch(user, item_seq, seq_len, torch.zeros_like(seq_len)))


def export(recommender: Recommender, folder: Path, people: People | None = None) -> float:
    """Write an encoder and the items that its queries are matched with, once its queries are found to be torch's.

    ``encoder.onnx`` takes ``item_seq`` (B, N), right-padded with 0, ``seq_len`` (B,) and, where the model knows users,
    ``user`` (B,), all int64, to ``query`` (B, D): of any B, and of any N up to the model's length unless it wants all.
    ``item_table.npy`` (V, D) has padding first and then the items, ``item_bias.npy`` (V,) is there where the model has
    one, ``items.json`` is the list of the items' ids. Scores are ``query @ item_table.T + item_bias``.

    Args:
        recommender: the trained model, on the CPU.
        folder: where they go.
        people: whose histories are compared, beside random ones.

    Returns:
        The largest difference from torch's queries that was found.

    Raises:
        InputError: the extra is missing, the model cannot be exported, or the exported one computes something else.
    """
    require(
        all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))), "ONNX needs its extra: pip install -e '.[export]'"
    )
    model, name = recommender.model, type(recommender.model).__name__
    encoder = Encoder(model).eval()
    length = {} if model.pad_to_max_len else {1: Dim.DYNAMIC}
    shapes = ({0: Dim.DYNAMIC, **length}, {0: Dim.DYNAMIC}, {0: Dim.DYNAMIC})
    example = histories(recommender, 3, recommender.max_len)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                encoder,
                example,
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=INPUTS,
                output_names=["query"],
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise InputError(f"{name} cannot be exported for batches and histories of any length") from error
    assert program is not None
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".onnx", dir=folder) as partial:  # goes with all in it, however this ends
        program.save(Path(partial) / "encoder.onnx")
        np.save(Path(partial) / "item_table.npy", model.item_table().numpy(force=True))
        if (bias := model.item_bias()) is not None:
            np.save(Path(partial) / "item_bias.npy", bias.numpy(force=True))
        (Path(partial) / "items.json").write_text(json.dumps(list(recommender.item_ids)))
        largest = difference(recommender, encoder, Path(partial) / "encoder.onnx", people)
        require(largest < TOLERANCE, f"{name}: the exported encoder computes something else, by {largest:.1e}")
        for file in Path(partial).iterdir():
            file.replace(folder / file.name)
    return largest


def difference(recommender: Recommender, encoder: Encoder, file: Path, people: People | None) -> float:
    """Return the largest between torch's queries and those of a file, over batches of several sizes; NaN if any is."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file))
    names = [given.name for given in session.get_inputs()]  # a model that knows no users has no such input
    differences = []
    for inputs in compared(recommender, people):
        given = dict(zip(INPUTS, (tensor.numpy() for tensor in inputs), strict=True))
        (found,) = session.run(None, {key: given[key] for key in names})
        with torch.no_grad():
            expected = encoder(*inputs).numpy()
        differences.append(np.abs(found - expected).max())
    return float(np.max(differences))


def compared(recommender: Recommender, people: People | None) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Batches of random histories of several sizes, and of some people's, as the encoder takes them."""
    for count, longest in RANDOM:
        yield histories(recommender, count, min(longest, recommender.max_len))
    if people is None:
        return
    for first in range(0, len(people.ids), BATCH):
        some = people.part(first, BATCH)
        batch = recommender.batch(some.items, some.offsets, some.users)
        yield batch.item_seq, batch.seq_len, batch.user


def histories(recommender: Recommender, count: int, longest: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random histories of one item to the longest; the same at every call."""
    rng = numpy_generator(0, Stream.EXPORT_CHECK)
    lengths = np.append(longest, rng.integers(1, longest + 1, count - 1))
    items = rng.integers(1, len(recommender.item_ids) + 1, lengths.sum())
    batch = recommender.batch(items, np.append(0, lengths.cumsum()), np.zeros(count, np.int64))
    return batch.item_seq, batch.seq_len, batch.user


def main() -> None:
    """Parse the command line, export, and say a user's mistake in one line."""
    parser = argparse.ArgumentParser("python -m adamct.serving.export", description="Export a trained encoder to ONNX.")
    parser.add_argument("checkpoint", type=Path, help="a run's checkpoints/best.ckpt")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="where to write; onnx beside the checkpoint")
    parser.add_argument(
        "--histories", metavar="FILE", type=Path, help="a log of any format whose histories are compared as well"
    )
    given = parser.parse_args()
    out = given.out or given.checkpoint.parent / "onnx"
    try:
        recommender = load(given.checkpoint)
        people = given.histories and people_of_file(given.histories, Columns(), pl.Series(recommender.item_ids))
        largest = export(recommender, out, people)
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        sys.exit(f"error: {line}")
    of = "" if people is None else f" of {len(people.ids):,} histories"
    print(f"exported: {out / 'encoder.onnx'}; its queries{of} differ from torch's by at most {largest:.0e}")


if __name__ == "__main__":
    main()
