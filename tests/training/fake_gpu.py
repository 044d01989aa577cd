"""A training step and a ranking on a GPU that is not there.

``python -m tests.training.fake_gpu MODEL [PRECISION [LOSS]]`` runs them.

Tensors are fake: they have a shape, a type and a device, and no numbers. Where a number is read, which on a GPU waits
for all work before, torch raises. `OnlyOnGpu` raises where a tensor of another device takes part.

torch without CUDA cannot differentiate fake CUDA tensors. There a backend in Python stands in for it, which must be
registered before torch differentiates anything: hence a process of its own.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from adamct.batch import Batch, Candidates, DataSpec, EvaluationBatch, Seen
from adamct.evaluation.ranking import rank_targets, top_items
from adamct.models.base import VectorModel
from adamct.training.step import training_loss

CONF = Path(__file__).parents[2] / "conf"
PRECISIONS = ("32-true", "64-true", "bf16-true", "bf16-mixed", "16-mixed")
LOSSES = sorted(path.stem for path in (CONF / "loss").glob("*.yaml"))
WEIGHTS = {"64-true": torch.float64, "bf16-true": torch.bfloat16}
MIXED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
SPEC = DataSpec(num_items=500, num_users=64, max_len=12, item_counts=torch.arange(501.0))
USERS, NEGATIVES = 64, 20
AUTOCAST = getattr(torch._C.DispatchKey, "AutocastPrivateUse1")  # noqa: B009  # which its types do not know
IN_HALF = ("linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "conv1d", "conv2d", "scaled_dot_product_attention")
IN_SINGLE = ("exp", "log", "softmax.int", "log_softmax.int", "layer_norm", "linalg_vector_norm", "norm.Scalar", "sum")
"""The operations of the models that autocast casts on a GPU."""
fallthrough, operations = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")


class StandIn:
    """The functions that torch calls in the module of a backend."""

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        pass

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


def gpu() -> torch.device:
    """Return the device of the fake tensors."""
    if torch.backends.cuda.is_built():
        return torch.device("cuda:0")
    _setup_privateuseone_for_python_backend("standin", StandIn())
    fallthrough.fallback(torch.library.fallthrough_kernel, AUTOCAST.name)
    for name in IN_HALF:
        operations.impl(name, autocast(name, None), AUTOCAST.name)
    for name in IN_SINGLE:
        operations.impl(name, autocast(name, torch.float32), AUTOCAST.name)
    return torch.device("standin:0")


def autocast(name: str, dtype: torch.dtype | None) -> Callable[..., Any]:
    """Return an operation that casts its tensors to a type, or to the one of autocast, as autocast does on a GPU."""
    packet, _, overload = name.partition(".")
    operation = getattr(getattr(torch.ops.aten, packet), overload or "default")

    def cast(value: Any) -> Any:
        half = isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64
        return value.to(dtype or torch.get_autocast_dtype("standin")) if half else value

    def run(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(AUTOCAST)):
            return operation(*tree_map(cast, args), **tree_map(cast, kwargs))

    return run


class OnlyOnGpu(TorchDispatchMode):
    """A mode that raises if an operation takes a tensor of another device, or waits.

    Args:
        device: the GPU.
        may_count: whether operations may wait for the number of elements that a mask selects. It selects `USERS`.
        may_move: whether tensors may come from another device.
    """

    def __init__(self, device: torch.device, may_count: bool, may_move: bool):
        super().__init__()
        self.device = device
        self.may_count = may_count
        self.may_move = may_move

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.may_count and func.overloadpacket.__name__ in ("index", "index_put", "index_put_", "_index_put_impl_"):
            args = (args[0], self.counted(args[1]), *args[2:])
        output = func(*args, **(kwargs or {}))
        if self.may_move:
            return output
        for tensor in tree_leaves((args, kwargs, output)):
            if isinstance(tensor, Tensor) and tensor.dim() and tensor.device != self.device:
                raise RuntimeError(f"{func}: a tensor of shape {tuple(tensor.shape)} is on {tensor.device}")
        return output

    def counted(self, indices: list[Tensor | None]) -> list[Tensor | None]:
        """Replace masks by the places that they select."""
        places: list[Tensor | None] = []
        for index in indices:
            if index is not None and index.dtype == torch.bool:
                places += [index.new_empty(USERS, dtype=torch.long)] * index.dim()
            else:
                places.append(index)
        return places


def faked(model: VectorModel, device: torch.device, dtype: torch.dtype) -> VectorModel:
    """Replace the parameters and buffers of a model by fake ones on a device."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                fake = torch.empty(parameter.shape, dtype=dtype, device=device)
                module._parameters[name] = nn.Parameter(fake, parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                kind = dtype if buffer.is_floating_point() else buffer.dtype
                module._buffers[name] = torch.empty(buffer.shape, dtype=kind, device=device)
    return model


def fake_batch(device: torch.device) -> EvaluationBatch:
    """Return the batch of an evaluation, whose users have had four items each."""
    items = partial(torch.empty, dtype=torch.long, device=device)
    bounds: Any = np.arange(0, 4 * USERS + 1, 4)  # which can be read
    seen = Seen(items(4 * USERS), items(4 * USERS), bounds)
    histories = Batch(items(USERS), items(USERS, SPEC.max_len), items(USERS), items(USERS))
    return EvaluationBatch(histories, Candidates(items(USERS, NEGATIVES), seen))


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Let torch make tensors of a type, as Lightning does while it trains weights of that type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def step_and_rank(model_name: str, precision: str, loss_name: str, device: torch.device) -> None:
    """Train for two steps and rank once. The first step may make tensors that stay on the device."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", [f"model={model_name}", f"loss={loss_name}"])
    model = instantiate(cfg.model, _partial_=True)(SPEC)
    dtype = WEIGHTS.get(precision, torch.float32)
    with FakeTensorMode(allow_non_fake_inputs=True):
        model, batch = faked(model, device, dtype), fake_batch(device)
        objective = instantiate(cfg.loss, _partial_=True)(SPEC._replace(item_counts=torch.empty(SPEC.num_items + 1)))
        mixed = MIXED.get(precision)
        autocast = torch.autocast(device.type, mixed) if mixed else nullcontext()
        with default_dtype(dtype), autocast:
            if any(parameter.requires_grad for parameter in model.parameters()):
                optimizer = instantiate(cfg.optimizer)(model.parameters())
                for may_move in (True, False):
                    with OnlyOnGpu(device, model.all_positions, may_move):
                        train(model, batch.histories, optimizer, objective)
            with OnlyOnGpu(device, False, False):
                rank(model.eval(), batch)


def train(model: VectorModel, batch: Batch, optimizer: torch.optim.Optimizer, objective: Any) -> None:
    """Make one training step."""
    loss = training_loss(model, batch, objective)
    assert loss.dtype in (torch.float32, torch.float64)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@torch.no_grad()
def rank(model: VectorModel, batch: EvaluationBatch) -> None:
    """Rank a batch as an evaluation does."""
    histories, candidates = batch
    scores = model.scores(histories)
    with torch.autocast(scores.device.type, enabled=False):
        ranks = rank_targets(scores, histories.target, candidates)
        lists, _ = top_items(scores, 10, candidates.seen)
    assert all(tensor.dtype == torch.long and tensor.device == scores.device for tensor in (*ranks, lists))


def main(model: str, precisions: str = ",".join(PRECISIONS), losses: str = ",".join(LOSSES)) -> None:
    """Print a line for each combination that fails, and how many there were."""
    device, combinations = gpu(), list(product(precisions.split(","), losses.split(",")))
    for precision, loss in combinations:
        try:
            step_and_rank(model, precision, loss, device)
        except Exception as error:
            print(f"{model} {precision} {loss}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
    print(f"{len(combinations)} combinations on {device.type}")


if __name__ == "__main__":
    main(*sys.argv[1:])
