"""Steps and rankings stay on a GPU and wait for nothing, for every model, precision and loss; needs no GPU."""

import subprocess
import sys

import pytest

from tests.conftest import CONF, MODELS, SPARSE

MISTAKES = {
    "another device": ("queries(self, batch) + torch.zeros(64, 1)", "FakeTensorDeviceMismatchError"),
    "an index on another device": ("queries(self, batch)[torch.arange(64)]", "is on cpu"),
    "a number that is read": ("queries(self, batch) * float(batch.seq_len.sum())", "DataDependentOutputException"),
    "a mask": ("queries(self, batch)[batch.seq_len > 0]", "DynamicOutputShapeException"),
}


def printed(*command: str) -> list[str]:
    """Return the lines that a new process prints."""
    process = subprocess.run([sys.executable, *command], cwd=CONF.parent, capture_output=True, text=True)
    assert not process.returncode, process.stderr
    return process.stdout.splitlines()


@pytest.mark.integration
def test_a_step_and_a_ranking_keep_to_a_gpu() -> None:
    (line,) = printed("-m", "tests.training.fake_gpu", "adamct", "bf16-true,bf16-mixed", "cross_entropy")
    assert line.startswith("2 combinations")


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize("model", sorted({*MODELS} - {*SPARSE}))
def test_every_step_and_ranking_keeps_to_a_gpu(model: str) -> None:
    (line,) = printed("-m", "tests.training.fake_gpu", model)
    num_losses = len([*(CONF / "loss").glob("*.yaml")])
    assert line.startswith(f"{5 * num_losses} combinations")  # five precisions


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_a_model_are_errors(mistake: str) -> None:
    changed, error = MISTAKES[mistake]
    lines = (
        "import torch",
        "from adamct.models.hgn import HGN",
        "from tests.training import fake_gpu",
        "queries = HGN.queries",
        f"HGN.queries = lambda self, batch: {changed}",
        "fake_gpu.main('hgn', '32-true', 'cross_entropy')",
    )
    output = printed("-c", "\n".join(lines))
    assert output[0].startswith("hgn 32-true cross_entropy: ")
    assert error in output[0]
