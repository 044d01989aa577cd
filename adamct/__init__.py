"""AdaMCT (CIKM '23) and its baselines: models, objectives, metrics and the LightningModule that joins them.

``adamct.load("best.ckpt").recommend([["B0001", "B0002"]])`` uses a trained model.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adamct.serving.recommender import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """Import torch only where it is needed: the command line's help does without."""
    if name == "load":
        from adamct.serving.recommender import load

        return load
    raise AttributeError(f"module 'adamct' has no attribute {name!r}")
