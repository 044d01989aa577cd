"""The choice of a GPU among several runs."""

from pathlib import Path

from adamct.training.gpus import least_used


def test_simultaneous_runs_share_devices_evenly(tmp_path: Path) -> None:
    runs = [least_used(3, tmp_path) for _ in range(5)]
    assert [run.__enter__() for run in runs] == [0, 1, 2, 0, 1]
    runs[1].__exit__(None, None, None)
    with least_used(3, tmp_path) as device:
        assert device == 1
