"""GC-SAN: a graph of the history, then attention (Xu et al., IJCAI 2019; equation numbers are the paper's).

"Graph Contextualized Self-Attention Network for Session-based Recommendation".
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from adamct import kernels
from adamct.batch import Batch, DataSpec
from adamct.models.base import VectorModel
from adamct.models.layers import MultiHeadAttention, item_embedding, padding_mask, select_positions
from adamct.values import DropoutRate, PositiveInt, Probability


def session_graph(
    item_seq: Int[Tensor, "B N"],
) -> tuple[Int[Tensor, "B N"], Float[Tensor, "B N N"], Float[Tensor, "B N N"]]:
    """Return the graph of each history: a node for each distinct item, and an edge for each step.

    Returns:
        The node of each position, which is the position where its item first occurs; the share of each node's incoming
        steps that come from every other node; and the share of its outgoing steps (Section 3.1).
    """
    batch, length = item_seq.shape
    node = (item_seq[:, :, None] == item_seq[:, None, :]).int().argmax(-1)  # (B, N)
    is_step = (item_seq[:, 1:] != 0).float()  # counts need single precision, whatever the weights' type
    step = node[:, :-1] * length + node[:, 1:]
    steps = is_step.new_zeros(batch, length * length).scatter_add(1, step, is_step)
    steps = steps.unflatten(1, (length, length))  # (B, from, to)
    outgoing = steps / steps.sum(2, keepdim=True).clamp(min=1)
    incoming = (steps / steps.sum(1, keepdim=True).clamp(min=1)).transpose(1, 2)
    return node, incoming, outgoing


class GraphLayer(nn.Module):
    """A gated graph layer (Eq. 1, 2): each node receives the states of its neighbours along the edges and against."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.edges_in = nn.Linear(hidden_size, hidden_size)
        self.edges_out = nn.Linear(hidden_size, hidden_size)
        self.from_neighbours = nn.Linear(2 * hidden_size, 3 * hidden_size, bias=False)  # W_z, W_r, W_h
        self.gates = nn.Linear(hidden_size, 2 * hidden_size, bias=False)  # P_z, P_r
        self.candidate = nn.Linear(hidden_size, hidden_size, bias=False)  # P_h

    def forward(
        self,
        hidden: Float[Tensor, "B N D"],
        incoming: Float[Tensor, "B N N"],
        outgoing: Float[Tensor, "B N N"],
    ) -> Float[Tensor, "B N D"]:
        neighbours = torch.cat([incoming @ self.edges_in(hidden), outgoing @ self.edges_out(hidden)], -1)
        size = hidden.shape[-1]
        gates_in, candidate_in = self.from_neighbours(neighbours).split([2 * size, size], -1)
        update, reset = (gates_in + self.gates(hidden)).sigmoid().chunk(2, -1)
        candidate = (candidate_in + self.candidate(reset * hidden)).tanh()
        # The nodes keep their precision, whatever the precision of the gates.
        return torch.lerp(hidden, candidate.to(hidden.dtype), update.to(hidden.dtype))


class AttentionLayer(nn.Module):
    """F = softmax(Q K^T / sqrt(D)) V, then Dpt(ReLU(F W_1 + b_1) W_2 + b_2) + F (Eq. 3, 4), over all items."""

    def __init__(self, hidden_size: int, num_heads: int, dropout: float):
        super().__init__()
        self.attention = MultiHeadAttention(hidden_size, num_heads, 0.0, bias=False)
        self.inner = nn.Linear(hidden_size, hidden_size)
        self.outer = nn.Linear(hidden_size, hidden_size)
        self.dropout = kernels.Dropout(dropout)

    def forward(self, x: Float[Tensor, "B N D"], mask: Float[Tensor, "B 1 1 N"]) -> Float[Tensor, "B N D"]:
        attended = self.attention(x, mask)
        return attended + self.dropout(self.outer(F.relu(self.inner(attended))))


class GCSAN(VectorModel):
    """A graph network over each history's items, self-attention over its positions, and their weighted sum (Eq. 5-7).

    The query is w times the attention's last vector plus 1 - w times the graph's. RecBole's attention is BERT's block,
    and attends to earlier items only. The paper masks nothing and has neither LayerNorm nor positions. On Beauty the
    best validation NDCG@10 of nine epochs is .343 either way.

    In the graph network RecBole adds biases to the gates and the candidate of Eq. 2, and multiplies by the reset gate
    after P_h, as `torch.nn.GRU` does. A step that a history takes twice counts once in RecBole; here it counts twice.
    RecBole adds an L2 term of the item embeddings to the loss. Here that is ``optimizer.weight_decay``, which is 0.
    """

    def __init__(
        self,
        spec: DataSpec,
        hidden_size: PositiveInt,
        num_graph_layers: PositiveInt,
        num_layers: PositiveInt,
        num_heads: PositiveInt,
        attention_weight: Probability,
        dropout: DropoutRate,
    ):
        super().__init__()
        self.attention_weight = attention_weight
        self.item_embedding = item_embedding(spec, hidden_size)
        self.graph_layers = nn.ModuleList(GraphLayer(hidden_size) for _ in range(num_graph_layers))
        self.layers = nn.ModuleList(AttentionLayer(hidden_size, num_heads, dropout) for _ in range(num_layers))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(hidden_size**-0.5), hidden_size**-0.5)
        with torch.no_grad():
            self.item_embedding.weight[0] = 0

    def queries(self, batch: Batch) -> Float[Tensor, "B D"]:
        node, incoming, outgoing = session_graph(batch.item_seq)
        hidden = self.item_embedding(batch.item_seq)
        incoming, outgoing = incoming.to(hidden.dtype), outgoing.to(hidden.dtype)
        for layer in self.graph_layers:
            hidden = layer(hidden, incoming, outgoing)
        hidden = hidden.gather(1, node.unsqueeze(-1).expand_as(hidden))  # each position takes its node's state
        attended, mask = hidden, padding_mask(batch.item_seq != 0)
        for layer in self.layers:
            attended = layer(attended, mask)
        last = batch.seq_len - 1
        return torch.lerp(
            select_positions(hidden, last), select_positions(attended, last).to(hidden.dtype), self.attention_weight
        )

    def item_table(self) -> Float[Tensor, "V D"]:
        return self.item_embedding.weight
