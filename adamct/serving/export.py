"""Export of a trained encoder to ONNX, for use without torch: ``python -m adamct.serving.export CHECKPOINT``.

Needs the extra [export].
"""

import argparse
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.export import Dim

from adamct.batch import Batch
from adamct.errors import InputError, exiting_on_mistake, on_one_line, require
from adamct.extras import require_extra
from adamct.models.base import VectorModel
from adamct.randomness import Stream, numpy_generator
from adamct.serving.recommender import Recommender, load

TOLERANCE = 1e-3
"""The largest allowed difference from torch's queries. Rounding to single precision alone gives up to 2e-4 in SINE."""
RANDOM_BATCHES = ((1, 1), (5, 4), (33, 1_000_000))
"""The size of each random batch and the length of its longest history. Lengths are cut to the model's."""
BATCH_SIZE = 256
"""The number of given histories in a batch of the comparison."""
INPUT_NAMES = ("item_seq", "seq_len", "user")


class Encoder(nn.Module):
    """A module that computes the queries of a model from tensors alone."""

    def __init__(self, model: VectorModel):
        super().__init__()
        self.model = model

    def forward(
        self, item_seq: Int[Tensor, "B N"], seq_len: Int[Tensor, " B"], user: Int[Tensor, " B"]
    ) -> Float[Tensor, "B D"]:
        """Return the queries of a `adamct.batch.Batch` of these tensors."""
        return self.model.queries(Batch(user, item_seq, seq_len, torch.zeros_like(seq_len)))


def export(recommender: Recommender, folder: Path, histories: Sequence[Sequence[str]] = ()) -> float:
    """Export an encoder and its item vectors, and compare the encoder's queries with torch's.

    ``encoder.onnx`` computes ``query`` (B, D) from ``item_seq`` (B, N), right-padded with 0, ``seq_len`` (B,) and, if
    the model has an embedding for each user, ``user`` (B,), all int64. B is any number. N is at most the model's
    length, or exactly this length if the model pads to it. The first row of ``item_table.npy`` (V, D) is
    padding.
    ``item_bias.npy`` (V,) exists if the model has a bias. ``items.json`` lists the item ids. Scores are
    ``query @ item_table.T + item_bias``.

    Args:
        recommender: the trained model, on the CPU.
        folder: the folder to write to.
        histories: item ids, oldest first, for the comparison, which also uses random histories.

    Returns:
        The largest difference between the exported queries and torch's.

    Raises:
        InputError: the extra is missing, the model cannot be exported, or its exported queries differ.
    """
    require_extra("export", "ONNX")
    model = recommender.model
    if not isinstance(model, VectorModel):
        raise InputError(f"{type(model).__name__}: has no encoder to export; its scores are not products of vectors")
    encoder = Encoder(model).eval()
    program = onnx_program(encoder, random_inputs(recommender, 3, recommender.max_len))
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".onnx", dir=folder) as temporary:  # deleted on any error
        partial = Path(temporary)
        program.save(partial / "encoder.onnx")
        np.save(partial / "item_table.npy", model.item_table().numpy(force=True))
        if (bias := model.item_bias()) is not None:
            np.save(partial / "item_bias.npy", bias.numpy(force=True))
        (partial / "items.json").write_text(json.dumps(list(recommender.item_ids)), encoding="utf-8")
        largest = max_difference(recommender, encoder, partial / "encoder.onnx", histories)
        require(largest < TOLERANCE, f"{type(model).__name__}: the exported queries are off by {largest:.1e}")
        for file in partial.iterdir():
            file.replace(folder / file.name)
    return largest


def onnx_program(encoder: Encoder, example: tuple[Tensor, Tensor, Tensor]) -> torch.onnx.ONNXProgram:
    """Translate an encoder to ONNX for batches of any size and, unless it pads to a fixed length, any length.

    Raises:
        InputError: the model cannot be exported.
    """
    length = {} if encoder.model.pad_to_max_len else {1: Dim.DYNAMIC}
    shapes = ({0: Dim.DYNAMIC, **length}, {0: Dim.DYNAMIC}, {0: Dim.DYNAMIC})
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                encoder,
                example,
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=INPUT_NAMES,
                output_names=["query"],
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        name = type(encoder.model).__name__
        raise InputError(f"{name} cannot be exported for batches and histories of any length") from error
    assert program is not None
    return program


def max_difference(recommender: Recommender, encoder: Encoder, file: Path, histories: Sequence[Sequence[str]]) -> float:
    """Return the largest difference between an ONNX file's queries and torch's; NaN if any query is NaN."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file))
    names = [value.name for value in session.get_inputs()]  # no user if the model does not use it
    differences = []
    for inputs in comparison_inputs(recommender, histories):
        arrays = dict(zip(INPUT_NAMES, (tensor.numpy() for tensor in inputs), strict=True))
        (queries,) = session.run(None, {name: arrays[name] for name in names})
        with torch.no_grad():
            expected = encoder(*inputs).numpy()
        differences.append(np.abs(queries - expected).max())
    return float(np.max(differences))


def comparison_inputs(
    recommender: Recommender, histories: Sequence[Sequence[str]]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield inputs of the encoder: several random batches, and the given histories without unknown items."""
    for count, longest in RANDOM_BATCHES:
        yield random_inputs(recommender, count, min(longest, recommender.max_len))
    numbers = [recommender.look_up(history, index) for index, history in enumerate(histories)]
    not_empty = [history for history in numbers if history]
    for first in range(0, len(not_empty), BATCH_SIZE):
        selected = not_empty[first : first + BATCH_SIZE]
        offsets = np.cumsum([0, *map(len, selected)])
        batch = recommender.build_batch(np.concatenate(selected), offsets, np.zeros(len(selected), np.int64))
        yield batch.item_seq, batch.seq_len, batch.user


def random_inputs(recommender: Recommender, count: int, longest: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs of the encoder for random histories of 1 to ``longest`` items, the same at every call."""
    rng = numpy_generator(0, Stream.EXPORT_CHECK)
    lengths = np.append(longest, rng.integers(1, longest + 1, count - 1))
    items = rng.integers(1, len(recommender.item_ids) + 1, lengths.sum())
    batch = recommender.build_batch(items, np.append(0, lengths.cumsum()), np.zeros(count, np.int64))
    return batch.item_seq, batch.seq_len, batch.user


def read_histories(file: Path) -> list[list[str]]:
    """Read histories from a file of JSON lines, each a list of item ids, oldest first.

    Raises:
        InputError: the file cannot be read, or a line is not JSON.
    """
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        expected = 'a JSON list of item ids on each line, such as ["77", "7"]'
        raise InputError(f"{file}: cannot be read ({on_one_line(error)}); give {expected}") from error


def main() -> None:
    """Run the command line. Exit with one line on a user's mistake."""
    parser = argparse.ArgumentParser("python -m adamct.serving.export", description="Export a trained encoder to ONNX.")
    parser.add_argument("checkpoint", type=Path, help="a run's checkpoints/best.ckpt")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="default: onnx beside the checkpoint")
    parser.add_argument(
        "--histories",
        metavar="FILE",
        type=Path,
        help="histories for the comparison with torch, beside random ones: a JSON list of item ids on each line",
    )
    arguments = parser.parse_args()
    out = arguments.out or arguments.checkpoint.parent / "onnx"
    with exiting_on_mistake():
        histories = [] if arguments.histories is None else read_histories(arguments.histories)
        largest = export(load(arguments.checkpoint), out, histories)
    source = f" of {len(histories):,} histories" if histories else ""
    print(f"exported: {out / 'encoder.onnx'}; its queries{source} differ from torch's by at most {largest:.0e}")


if __name__ == "__main__":
    main()
