"""The facts of the machine and the software that a run's numbers come from."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def provenance(device: "torch.device") -> dict[str, Any]:
    """Return the commit, the versions, the device, the threads and the host of a run."""
    import torch

    return {
        "git_commit": git_commit(Path(__file__).parents[2]),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "lightning": version("pytorch-lightning"),
        },
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or device.type,
        "threads": torch.get_num_threads(),
        "host": platform.platform(),
    }


def git_commit(clone: Path) -> str | None:
    """Return the commit of a clone, with ``-dirty`` if files differ from it; None for an installed copy."""
    if not (clone / ".git").exists():  # git would find the repository of a folder above, which is another project
        return None
    command = ["git", "-C", str(clone), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # without git
        return None


def peak_resident_mib() -> float | None:
    """Return the peak memory of the process in MiB; None if the system does not report it, as on Windows."""
    try:
        import resource
    except ModuleNotFoundError:
        return None
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if platform.system() == "Darwin" else 1)
    return kib / 1024
