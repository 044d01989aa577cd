"""GRU4Rec: a recurrent network (Hidasi et al., ICLR 2016; equation numbers are the paper's).

"Session-based Recommendations with Recurrent Neural Networks".

It trains on prefixes, after Tan et al. (DLRS 2016). Their dropout removes whole items of a history. Here, as in
RecBole, it removes elements of the embeddings. One table serves the input items and the scored items, after Hidasi and
Karatzoglou (CIKM 2018).
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

from adamct import kernels
from adamct.batch import Batch, DataSpec
from adamct.models.causal import CausalModel
from adamct.models.layers import item_embedding
from adamct.values import DropoutRate, PositiveInt


class GRULayer(nn.Module):
    """h_t = (1 - z_t) h_{t-1} + z_t tanh(W x_t + U (r_t * h_{t-1})) (Eq. 2-5), without biases.

    The paper and the authors' code multiply by r_t before U. ``torch.nn.GRU``, which RecBole takes, multiplies after U,
    and swaps z and 1 - z. The authors' code also adds biases.
    """

    def __init__(self, input_size: int, state_size: int):
        super().__init__()
        self.input = nn.Linear(input_size, 3 * state_size, bias=False)  # W_z, W_r, W
        self.gates = nn.Linear(state_size, 2 * state_size, bias=False)  # U_z, U_r
        self.candidate = nn.Linear(state_size, state_size, bias=False)  # U

    def step(
        self, hidden: Float[Tensor, "B S"], gates_in: Float[Tensor, "B S2"], candidate_in: Float[Tensor, "B S"]
    ) -> Float[Tensor, "B S"]:
        """Return the state after one more item."""
        update, reset = (gates_in + self.gates(hidden)).sigmoid().chunk(2, -1)
        candidate = (candidate_in + self.candidate(reset * hidden)).tanh()
        # The state keeps its precision, whatever the precision of the gates.
        return torch.lerp(hidden, candidate.to(hidden.dtype), update.to(hidden.dtype))

    def carry(
        self, hidden: Float[Tensor, "B S"], inputs: tuple[Tensor, Tensor]
    ) -> tuple[Float[Tensor, "B S"], Float[Tensor, "B S"]]:
        """Return the state for the next step and the state to keep, which may not share memory."""
        state = self.step(hidden, *inputs)
        return state, state.clone()

    def forward(self, x: Float[Tensor, "N B D"]) -> Float[Tensor, "N B S"]:
        size = self.candidate.in_features
        hidden, inputs = x.new_zeros(x.shape[1], size), self.input(x).split(2 * size, -1)
        if torch.compiler.is_exporting():  # which would fix the number of a loop's steps
            return scan(self.carry, hidden, inputs)[1]
        states = []
        for gates_in, candidate_in in zip(*(part.unbind() for part in inputs), strict=True):
            hidden = self.step(hidden, gates_in, candidate_in)
            states.append(hidden)
        return torch.stack(states)


class GRU4Rec(CausalModel):
    """Embeddings, GRU layers with a state of their own size, and a linear layer from the last state to the query.

    Layers after the GRU are an option of the paper (Figure 1); RecBole has this one. Hidasi et al. sample negatives for
    a pairwise loss. This model trains with the cross-entropy over all items, as every model here. The authors' code
    also has a bias for each item.

    On Beauty the best validation NDCG@10 among all items, of about 20 epochs, is .0472 with a state of 128, .0460 with
    one of 64, and .0438 with one of 64 and no linear layer. The best epoch among all items is 18, and 10 for
    ``uni100``.
    """

    def __init__(
        self,
        spec: DataSpec,
        hidden_size: PositiveInt,
        state_size: PositiveInt,
        num_layers: PositiveInt,
        embedding_dropout: DropoutRate,
        dropout: DropoutRate,
        all_positions: bool,
    ):
        super().__init__(all_positions)
        self.item_embedding = item_embedding(spec, hidden_size)
        self.embedding_dropout = kernels.Dropout(embedding_dropout)
        sizes = [hidden_size] + num_layers * [state_size]
        self.layers = nn.ModuleList(GRULayer(*pair) for pair in pairwise(sizes))
        self.dropout = kernels.Dropout(dropout)
        self.dense = nn.Linear(state_size, hidden_size)
        for layer in self.layers.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
        with torch.no_grad():
            nn.init.xavier_normal_(self.item_embedding.weight)[0] = 0

    def states(self, batch: Batch) -> Float[Tensor, "B N S"]:
        hidden = self.embedding_dropout(self.item_embedding(batch.item_seq.T))  # (N, B, D)
        for layer in self.layers:
            hidden = self.dropout(layer(hidden))
        return hidden.transpose(0, 1)

    def output(self, state: Float[Tensor, "M S"]) -> Float[Tensor, "M D"]:
        return self.dense(state)

    def item_table(self) -> Float[Tensor, "V D"]:
        return self.item_embedding.weight
