"""Random numbers: uses, places and processes have independent streams, and no other file makes a generator."""

import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from adamct.randomness import (
    Stream,
    numpy_generator,
    random_bits,
    seed_of,
    seed_torch,
    sequence,
    short_seed_of,
    torch_generator,
)

ROOT = Path(__file__).parents[1]
MAKERS = re.compile(
    r"\b(default_rng|SeedSequence|RandomState|PCG64|SFC64|MT19937|Philox|torch\.Generator|manual_seed|seed_everything"
    r"|random\.seed|np\.random\.seed|import random|from random)\b"
)


def strongest_correlation(drawn: list[np.ndarray]) -> float:
    return float(np.abs(np.triu(np.corrcoef(np.stack(drawn)), 1)).max())


def test_every_use_and_place_has_its_own_seed() -> None:
    places = [(), *product(range(3)), *product(range(3), repeat=2), *product(range(3), repeat=3), (2**32 - 1,)]
    uses = [(seed, stream, *place) for seed in (0, 1, 212, 2**32, 2**64) for stream in Stream for place in places]
    assert len({seed_of(*use) for use in uses}) == len(uses)


def test_trailing_zeros_of_a_place_count() -> None:
    drawn = [numpy_generator(7, Stream.EPOCH_ORDER, *[0] * zeros).random(1000) for zeros in range(4)]
    assert strongest_correlation(drawn) < 0.15


def test_streams_of_one_seed_are_uncorrelated() -> None:
    drawn = [numpy_generator(212, stream).random(2000) for stream in Stream]
    assert strongest_correlation(drawn) < 0.1


def test_processes_epochs_and_steps_are_uncorrelated() -> None:
    drawn = []
    for epoch, step, process in product(range(2), range(2), range(2)):
        seed_torch(torch.device("cpu"), 3, Stream.TRAINING_STEP, epoch, step, process)
        drawn.append(torch.rand(500).numpy())
    drawn += [torch.rand(500, generator=torch_generator(3, Stream.EPOCH_ORDER, epoch)).numpy() for epoch in range(2)]
    assert strongest_correlation(drawn) < 0.25


def test_equal_uses_give_equal_numbers() -> None:
    assert seed_of(5, Stream.SEED_DEVIATES) == seed_of(5, Stream.SEED_DEVIATES)
    assert short_seed_of(5, Stream.INITIAL_WEIGHTS) < 2**32
    assert (numpy_generator(5, Stream.SIGN_FLIPS).random(9) == numpy_generator(5, Stream.SIGN_FLIPS).random(9)).all()
    torch.manual_seed(1)
    bits = random_bits(10)
    torch.manual_seed(1)
    assert (random_bits(10) == bits).all()


def test_seeds_and_places_out_of_range_are_errors() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        sequence(-1, Stream.SEED_DEVIATES)
    for place in (-1, 2**32):
        with pytest.raises(ValueError, match=f"place=.{place}"):
            sequence(0, Stream.SEED_DEVIATES, place)


def test_no_other_file_makes_a_generator() -> None:
    folders = [ROOT / name for name in ("adamct", "datamodules", "hydra_plugins", "benchmarks")]
    files = [ROOT / "run.py", *(path for folder in folders for path in folder.rglob("*.py"))]
    makers = {
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in files
        if path.name not in ("randomness.py", "plain_data.py")  # plain_data.py stands for a script outside the project
        for line in path.read_text().splitlines()
        if MAKERS.search(line) and "torch.manual_seed" not in line.partition("#")[2]
    }
    assert not makers
    for line in ("np.random.default_rng()", "torch.Generator()", "torch.Generator(device)", "import random"):
        assert MAKERS.search(line)
