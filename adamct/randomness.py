"""All randomness, as a function of (seed, stream, place). No other file of the project makes a generator.

`numpy.random.SeedSequence` pads its entropy with zeros, so ``[s]``, ``[s, 0]`` and ``[s, 0, 0]`` are one sequence. Its
``spawn_key`` is not padded, so different streams and places have independent numbers.

torch is imported inside functions, because the import takes seconds and reports do not need it.
"""

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


class Stream(IntEnum):
    """The uses of random numbers. The comments list their places."""

    PLANTED_TABLES = 0  # none
    PLANTED_LOG = 1  # none
    INITIAL_WEIGHTS = 2  # none
    EPOCH_ORDER = 3  # the epoch
    TRAINING_STEP = 4  # the epoch, the step within it, the process
    SHUFFLED_HISTORIES = 5  # none
    SHUFFLED_TIES = 6  # none
    VALIDATION_NEGATIVES = 7  # none
    TEST_NEGATIVES = 8  # none
    CONTINUED_SEARCH = 9  # the number of earlier trials
    SEED_DEVIATES = 10  # none
    SIGN_FLIPS = 11  # none
    EXPORT_CHECK = 12  # none
    BENCHMARK = 13  # none


def sequence(seed: int, stream: Stream, *place: int) -> np.random.SeedSequence:
    """Return the seed sequence of one place in one stream.

    Args:
        seed: the seed of the experiment, from 0.
        stream: the use of the numbers.
        place: the place in the stream, such as an epoch and a step; numbers from 0 and below 2^32.

    Raises:
        ValueError: the seed or a place is out of range.
    """
    if seed < 0:
        raise ValueError(f"{seed}: must be a non-negative number")
    if not all(0 <= number < 2**32 for number in place):  # a larger number would count as two numbers of 32 bits
        raise ValueError(f"place={place}: each number must be from 0 and below 2^32")
    return np.random.SeedSequence(seed, spawn_key=(int(stream), *place))


def seed_of(seed: int, stream: Stream, *place: int) -> int:
    """Return a seed of 64 bits, for generators such as torch's that take only a number."""
    return int(sequence(seed, stream, *place).generate_state(1, np.uint64)[0])


def short_seed_of(seed: int, stream: Stream, *place: int) -> int:
    """Return a seed of 32 bits, for libraries that take no more."""
    return int(sequence(seed, stream, *place).generate_state(1, np.uint32)[0])


def numpy_generator(seed: int, stream: Stream, *place: int) -> np.random.Generator:
    """Make a NumPy generator for one place in one stream."""
    return np.random.default_rng(sequence(seed, stream, *place))


def torch_generator(seed: int, stream: Stream, *place: int) -> "torch.Generator":
    """Make a torch generator on the CPU for one place in one stream."""
    import torch

    return torch.Generator().manual_seed(seed_of(seed, stream, *place))


def seed_torch(device: "torch.device", seed: int, stream: Stream, *place: int) -> None:
    """Seed torch's default generators of the CPU and of a device.

    ``torch.manual_seed`` would record the stack for each kind of device that is not in use, which takes a millisecond.
    """
    import torch

    number = seed_of(seed, stream, *place)
    torch.default_generator.manual_seed(number)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(number)


def seed_libraries(seed: int) -> None:
    """Seed Python, NumPy and torch for the random numbers before the first step: the model's initial weights."""
    from pytorch_lightning import seed_everything

    seed_everything(short_seed_of(seed, Stream.INITIAL_WEIGHTS), workers=True, verbose=False)


def random_bits(count: int) -> np.ndarray:
    """Draw 64-bit numbers from a fast generator, which torch's default generator seeds."""
    import torch

    seed = int(torch.empty((), dtype=torch.long).random_())
    return np.random.SFC64(seed).random_raw(count)
