"""The script of runs and its config groups. A wheel has copies of both in ``adamct/script``."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_COPIES = _PACKAGE / "script"
_FOLDER = _COPIES if _COPIES.exists() else _PACKAGE.parent
SCRIPT = _FOLDER / "run.py"
CONF = _FOLDER / "conf"
