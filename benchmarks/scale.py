"""Prepare logs of millions of interactions: ``python -m benchmarks.scale --millions 1 5 20``.

Each log has a tenth as many users and a fortieth as many items as interactions. Popularity follows Zipf's law. The log
is written as Parquet and as gzipped JSON lines. A new process reads it, takes its 5-core and builds the sequences; its
seconds and its peak memory are reported. Each log is deleted before the next is written.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table

from adamct.randomness import Stream, numpy_generator
from adamct.runs.provenance import peak_resident_mib

ROWS = 1_000_000
"""Interactions that are generated and written at a time."""
FORMATS = ("parquet", "jsonl.gz")


def pieces(interactions: int) -> Iterator[pl.DataFrame]:
    """Generate a log in pieces of `ROWS` rows; the same at every call."""
    rng = numpy_generator(0, Stream.BENCHMARK)
    users, items = interactions // 10, interactions // 40
    shares = 1 / np.arange(1, items + 1)
    bounds = np.cumsum(shares / shares.sum())
    for first in range(0, interactions, ROWS):
        count = min(ROWS, interactions - first)
        yield pl.DataFrame(
            {
                "user": rng.integers(users, size=count),
                "item": np.minimum(np.searchsorted(bounds, rng.random(count)), items - 1),
                "timestamp": rng.integers(1_300_000_000, 1_400_000_000, count),
            }
        ).with_columns(pl.format("U{}", "user").alias("user"), pl.format("I{}", "item").alias("item"))


def write(interactions: int, kind: str, folder: Path) -> Path:
    """Write a log: a folder of files for Parquet, one file for JSON lines."""
    path = folder / f"log.{kind}"
    if kind == "parquet":
        path.mkdir()
        for number, frame in enumerate(pieces(interactions)):
            frame.write_parquet(path / f"{number:03}.parquet")
    else:
        with gzip.open(path, "wb", compresslevel=1) as file:
            for frame in pieces(interactions):
                file.write(frame.write_ndjson().encode())
    return path


def prepare(path: Path) -> None:
    """Prepare a log, and print the time and the memory it took as JSON."""
    from datamodules.preprocessing import build_sequences, statistics
    from datamodules.sources import read_log

    start = time.perf_counter()
    log = read_log(path)
    read = time.perf_counter()
    rows = log.height
    core = statistics(build_sequences(log, 5, 5))
    seconds = time.perf_counter() - start
    print(
        json.dumps(
            {
                "interactions": rows,
                "of the 5-core": core.interactions,
                "users": core.users,
                "items": core.items,
                "read": read - start,
                "seconds": seconds,
                "MiB": peak_resident_mib(),
            }
        )
    )


def main() -> None:
    """Measure all logs, and print a table."""
    parser = argparse.ArgumentParser("python -m benchmarks.scale", description="Prepare logs of millions of rows.")
    parser.add_argument(
        "--millions",
        type=float,
        nargs="+",
        default=[1.0, 5.0, 20.0],
        help="sizes of the logs",
    )
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.prepare:
        prepare(arguments.prepare)
        return
    counted = ("rows, M", "5-core, M", "users, M", "items, M")
    table = Table("format", *counted, "to read, s", "all, s", "peak, MiB", box=box.SIMPLE_HEAD)
    for kind in FORMATS:
        for millions in arguments.millions:
            with tempfile.TemporaryDirectory() as folder:
                path = write(int(millions * 1_000_000), kind, Path(folder))
                command = [sys.executable, "-m", "benchmarks.scale", "--prepare", str(path)]
                figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            counts = [f"{figures[key] / 1e6:.2f}" for key in ("interactions", "of the 5-core", "users", "items")]
            memory = "" if figures["MiB"] is None else f"{figures['MiB']:,.0f}"
            table.add_row(kind, *counts, f"{figures['read']:.1f}", f"{figures['seconds']:.1f}", memory)
    Console().print(table)


if __name__ == "__main__":
    main()
