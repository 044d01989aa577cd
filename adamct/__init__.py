"""AdaMCT (CIKM '23) and its baselines: models, objectives, metrics and the LightningModule that joins them.

``adamct.train(["dataset=synthetic"])`` trains a model, and ``adamct.load("best.ckpt").recommend([["B0001", "B0002"]])``
uses it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adamct.interactive import train
    from adamct.serving.recommender import load

__all__ = ["load", "train"]


def __getattr__(name: str) -> Any:
    """Import torch only where it is needed: the command line's help does without."""
    if name == "load":
        from adamct.serving.recommender import load

        return load
    if name == "train":
        from adamct.interactive import train

        return train
    raise AttributeError(f"module 'adamct' has no attribute {name!r}")
