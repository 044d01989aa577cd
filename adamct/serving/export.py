"""``python -m adamct.serving.export CHECKPOINT``: a trained encoder as ONNX, for use without torch.

Needs the extra [export].
"""

import argparse
import json
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.export import Dim

from adamct.batch import Batch
from adamct.errors import InputError, explain, on_one_line, require
from adamct.models.base import NextItemModel
from adamct.randomness import Stream, numpy_generator
from adamct.serving.recommender import Recommender, load

TOLERANCE = 1e-3
"""The largest allowed difference from torch's queries. Single precision alone is off by up to 2e-4 in SINE."""
RANDOM = ((1, 1), (5, 4), (33, 1_000_000))
"""The sizes of random batches and their longest histories, which are cut to the model's length."""
BATCH = 256
"""Histories in a compared batch."""
INPUTS = ("item_seq", "seq_len", "user")


class Encoder(nn.Module):
    """The queries of a model as a function of tensors only."""

    def __init__(self, model: NextItemModel):
        super().__init__()
        self.model = model

    def forward(
        self, item_seq: Int[Tensor, "B N"], seq_len: Int[Tensor, " B"], user: Int[Tensor, " B"]
    ) -> Float[Tensor, "B D"]:
        """See `adamct.batch.Batch`."""
        return self.model.queries(Batch(user, item_seq, seq_len, torch.zeros_like(seq_len)))


def export(recommender: Recommender, folder: Path, histories: Sequence[Sequence[str]] = ()) -> float:
    """Write an encoder and the item vectors that its queries are multiplied with, after a comparison with torch.

    ``encoder.onnx`` computes ``query`` (B, D) from ``item_seq`` (B, N), right-padded with 0, ``seq_len`` (B,) and, if
    the model has an embedding for each user, ``user`` (B,), all int64. B is any number. N is at most the model's
    length, and exactly that for a model that pads to it. ``item_table.npy`` (V, D) starts with padding.
    ``item_bias.npy`` (V,) exists if the model has a bias. ``items.json`` lists the item ids. Scores are
    ``query @ item_table.T + item_bias``.

    Args:
        recommender: the trained model, on the CPU.
        folder: the folder to write to.
        histories: item ids, oldest first, that are compared beside random histories.

    Returns:
        The largest difference from torch's queries.

    Raises:
        InputError: the extra is missing, the model cannot be exported, or the exported model computes something else.
    """
    require(
        all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))), "ONNX needs its extra: pip install -e '.[export]'"
    )
    model, name = recommender.model, type(recommender.model).__name__
    encoder = Encoder(model).eval()
    length = {} if model.pad_to_max_len else {1: Dim.DYNAMIC}
    shapes = ({0: Dim.DYNAMIC, **length}, {0: Dim.DYNAMIC}, {0: Dim.DYNAMIC})
    example = random_histories(recommender, 3, recommender.max_len)
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
    with TemporaryDirectory(prefix=".onnx", dir=folder) as partial:  # deleted on any error
        program.save(Path(partial) / "encoder.onnx")
        np.save(Path(partial) / "item_table.npy", model.item_table().numpy(force=True))
        if (bias := model.item_bias()) is not None:
            np.save(Path(partial) / "item_bias.npy", bias.numpy(force=True))
        (Path(partial) / "items.json").write_text(json.dumps(list(recommender.item_ids)))
        largest = difference(recommender, encoder, Path(partial) / "encoder.onnx", histories)
        require(largest < TOLERANCE, f"{name}: the exported encoder computes something else, by {largest:.1e}")
        for file in Path(partial).iterdir():
            file.replace(folder / file.name)
    return largest


def difference(recommender: Recommender, encoder: Encoder, file: Path, histories: Sequence[Sequence[str]]) -> float:
    """Return the largest difference between torch's queries and a file's over several batches; NaN if any is NaN."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file))
    names = [value.name for value in session.get_inputs()]  # without the user if the model does not use it
    differences = []
    for inputs in compared(recommender, histories):
        arrays = dict(zip(INPUTS, (tensor.numpy() for tensor in inputs), strict=True))
        (queries,) = session.run(None, {name: arrays[name] for name in names})
        with torch.no_grad():
            expected = encoder(*inputs).numpy()
        differences.append(np.abs(queries - expected).max())
    return float(np.max(differences))


def compared(recommender: Recommender, histories: Sequence[Sequence[str]]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield the encoder's inputs for random batches of several sizes, and for histories with known items."""
    for count, longest in RANDOM:
        yield random_histories(recommender, count, min(longest, recommender.max_len))
    numbers = [recommender.known(history, place) for place, history in enumerate(histories)]
    known = [history for history in numbers if history]
    for first in range(0, len(known), BATCH):
        some = known[first : first + BATCH]
        offsets = np.cumsum([0, *map(len, some)])
        batch = recommender.batch(np.concatenate(some), offsets, np.zeros(len(some), np.int64))
        yield batch.item_seq, batch.seq_len, batch.user


def random_histories(recommender: Recommender, count: int, longest: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the encoder's inputs for random histories of 1 to ``longest`` items, the same at every call."""
    rng = numpy_generator(0, Stream.EXPORT_CHECK)
    lengths = np.append(longest, rng.integers(1, longest + 1, count - 1))
    items = rng.integers(1, len(recommender.item_ids) + 1, lengths.sum())
    batch = recommender.batch(items, np.append(0, lengths.cumsum()), np.zeros(count, np.int64))
    return batch.item_seq, batch.seq_len, batch.user


def read_histories(file: Path) -> list[list[str]]:
    """Read histories from a file of JSON lines, each a list of item ids, oldest first.

    Raises:
        InputError: the file cannot be read, or a line is not JSON.
    """
    try:
        return [json.loads(line) for line in file.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        form = 'a list of item ids on each line, such as ["77", "7"]'
        raise InputError(f"{file}: cannot be read ({on_one_line(error)}); give {form}") from error


def main() -> None:
    """Run the command line. A user's mistake ends it with one line."""
    parser = argparse.ArgumentParser("python -m adamct.serving.export", description="Export a trained encoder to ONNX.")
    parser.add_argument("checkpoint", type=Path, help="a run's checkpoints/best.ckpt")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="where to write; onnx beside the checkpoint")
    parser.add_argument(
        "--histories",
        metavar="FILE",
        type=Path,
        help="histories to compare beside random ones: a JSON list of item ids on each line",
    )
    arguments = parser.parse_args()
    out = arguments.out or arguments.checkpoint.parent / "onnx"
    try:
        histories = [] if arguments.histories is None else read_histories(arguments.histories)
        largest = export(load(arguments.checkpoint), out, histories)
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        sys.exit(f"error: {line}")
    of_histories = f" of {len(histories):,} histories" if histories else ""
    print(f"exported: {out / 'encoder.onnx'}; its queries{of_histories} differ from torch's by at most {largest:.0e}")


if __name__ == "__main__":
    main()
