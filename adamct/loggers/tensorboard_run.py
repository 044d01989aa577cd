"""TensorBoard's event files."""

from jaxtyping import Float
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor


class TensorBoardRun(TensorBoardLogger):
    """Lightning's logger, with histograms.

    Args:
        save_dir: the folder of the files.
    """

    def __init__(self, save_dir: str):
        super().__init__(save_dir, name="", version="", default_hp_metric=False)

    @rank_zero_only
    def log_histogram(self, name: str, values: Float[Tensor, " U"], step: int) -> None:
        """Log a histogram."""
        self.experiment.add_histogram(name, values, step)
