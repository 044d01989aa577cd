"""HSTU: pointwise attention over items, positions and times (Zhai et al., ICML 2024; equation numbers are the paper's).

"Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for Generative Recommendations".
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from adamct import kernels
from adamct.batch import Batch, DataSpec
from adamct.errors import require
from adamct.models.causal import CausalModel
from adamct.models.layers import INIT_STD, item_embedding
from adamct.values import DropoutRate, NonNegativeInt, PositiveFloat, PositiveInt

NORM_EPS = 1e-6
LOG_BUCKET = 0.301
"""The width of a bucket in log time. A bucket's times are up to exp(0.301) = 1.35 times as long as its shortest."""


def time_buckets(times: Int[Tensor, "B N"], num_buckets: int) -> Int[Tensor, "B N N"]:
    """Return the bucket of the time between any two items of a history, of equal widths in log time.

    Times up to one unit of the log are in bucket 0, and the longest times in the last bucket.
    """
    between = (times[:, :, None] - times[:, None, :]).abs().clamp(min=1)
    return (between.float().log() / LOG_BUCKET).long().clamp(max=num_buckets - 1)


class RelativeBias(nn.Module):
    """The bias rab of Eq. 2: a number for each distance in positions, and one for each bucket of times between items.

    All heads share it. Without times, or with 0 buckets, only the positions count.
    """

    def __init__(self, max_len: int, num_time_buckets: int):
        super().__init__()
        self.position = nn.Parameter(INIT_STD * torch.randn(max_len))
        self.time = nn.Parameter(INIT_STD * torch.randn(num_time_buckets)) if num_time_buckets else None

    def forward(self, distances: Int[Tensor, "N N"], buckets: Int[Tensor, "B N N"] | None) -> Float[Tensor, "#B 1 N N"]:
        bias = self.position[distances][None]  # (1, N, N)
        if self.time is not None and buckets is not None:
            bias = bias + F.embedding(buckets, self.time[:, None]).squeeze(-1)
        return bias[:, None]


class HSTULayer(nn.Module):
    """U, V, Q, K = SiLU(LN(X) W_1) (Eq. 1), A = SiLU(Q K^T + rab) (Eq. 2), X + Dpt(LN(A V) * U) W_2 + b (Eq. 3).

    Its LayerNorms have no weights.
    """

    def __init__(self, max_len: int, hidden_size: int, num_heads: int, num_time_buckets: int, dropout: float):
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(hidden_size, NORM_EPS, elementwise_affine=False)
        self.input = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.bias = RelativeBias(max_len, num_time_buckets)
        self.output = nn.Linear(hidden_size, hidden_size)
        self.dropout = kernels.Dropout(dropout)
        nn.init.normal_(self.input.weight, std=INIT_STD)
        nn.init.xavier_uniform_(self.output.weight)

    def forward(
        self,
        x: Float[Tensor, "B N D"],
        mask: Float[Tensor, "N N"],
        distances: Int[Tensor, "N N"],
        buckets: Int[Tensor, "B N N"] | None,
    ) -> Float[Tensor, "B N D"]:
        size = x.shape[-1]
        gate, heads = F.silu(self.input(self.norm(x))).split([size, 3 * size], -1)
        heads = heads.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        value, query, key = kernels.unbind(heads)  # each (B, H, N, D/H)
        scores = query @ key.transpose(-1, -2) + self.bias(distances, buckets)  # (B, H, N, N)
        attended = ((F.silu(scores) * mask) @ value).transpose(1, 2).flatten(2)
        return x + self.output(self.dropout(self.norm(attended) * gate))


class HSTU(CausalModel):
    """Layers of Eq. 1 to 3 over items and positions, compared with items by cosine over a temperature.

    This is the model of the paper's experiments on public data (Section 4.1.1). Details that the equations leave out
    are those of the authors' code: each item attends to itself and earlier ones, A is divided by the maximal length,
    the items are multiplied by sqrt(D) and added to position embeddings, and times are in buckets.

    The authors' code differs. Its bias of item i measures times from the item after i, so the state that predicts an
    item knows when the user has it. Other models do not know this, and here the times are measured from item i. Its
    maximal length is that of the histories plus 11. It trains on a softmax over the target and 128 or 512 sampled
    items, and only on a user's last ``max_len`` training items, by AdamW with betas of .9 and .98. This model trains
    with the cross-entropy over all items, as most models here.

    A history without times, such as a list of item ids, gets no bias for times.
    """

    def __init__(
        self,
        spec: DataSpec,
        hidden_size: PositiveInt,
        num_layers: PositiveInt,
        num_heads: PositiveInt,
        num_time_buckets: NonNegativeInt,
        dropout: DropoutRate,
        temperature: PositiveFloat,
        all_positions: bool,
    ):
        super().__init__(all_positions)
        divides = hidden_size % num_heads == 0
        require(divides, f"model.num_heads={num_heads}: must divide model.hidden_size={hidden_size}")
        self.num_time_buckets = num_time_buckets if spec.has_times else 0
        self.uses_times = self.num_time_buckets > 0
        self.temperature = temperature
        self.item_embedding = item_embedding(spec, hidden_size)
        self.position_embedding = nn.Embedding(spec.max_len, hidden_size)
        self.dropout = kernels.Dropout(dropout)
        self.layers = nn.ModuleList(
            HSTULayer(spec.max_len, hidden_size, num_heads, self.num_time_buckets, dropout) for _ in range(num_layers)
        )
        nn.init.xavier_normal_(self.position_embedding.weight)
        with torch.no_grad():
            nn.init.trunc_normal_(self.item_embedding.weight, std=INIT_STD, a=-2 * INIT_STD, b=2 * INIT_STD)[0] = 0

    def states(self, batch: Batch) -> Float[Tensor, "B N D"]:
        max_len, size = self.position_embedding.weight.shape
        length = batch.item_seq.shape[1]
        items, positions = self.item_embedding(batch.item_seq), self.position_embedding.weight[:length]
        hidden = self.dropout(size**0.5 * items + positions)
        mask = hidden.new_ones(length, length).tril() / max_len
        index = torch.arange(length, device=hidden.device)
        distances = (index[:, None] - index).clamp(min=0)  # from an item back to another
        buckets = None
        if self.uses_times and batch.times is not None:
            buckets = time_buckets(batch.times, self.num_time_buckets)
        for layer in self.layers:
            hidden = layer(hidden, mask, distances, buckets)
        return hidden

    def output(self, state: Float[Tensor, "M D"]) -> Float[Tensor, "M D"]:
        return F.normalize(state, dim=-1) / self.temperature

    def item_table(self) -> Float[Tensor, "V D"]:
        return F.normalize(self.item_embedding.weight, dim=-1)
