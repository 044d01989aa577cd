"""The log that the released code is measured on."""

from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.released import write_log
from datamodules.preprocessing import Interactions


def test_the_log_has_every_user_s_items_in_time_order(tmp_path: Path) -> None:
    names = pl.Series(["a", "b", "c"])
    interactions = Interactions(np.array([3, 1, 2, 1], np.int32), np.array([0, 3, 4]), np.arange(4), names[:2], names)
    write_log(interactions, tmp_path / "log" / "log.inter")
    log = pl.read_csv(tmp_path / "log" / "log.inter", separator="\t")
    assert log.columns == ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
    assert log.rows() == [(1, 3, 1, 0), (1, 1, 1, 1), (1, 2, 1, 2), (2, 1, 1, 0)]
