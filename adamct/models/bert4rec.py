"""BERT4Rec: a transformer that fills in masked items (Sun et al., CIKM 2019; equation numbers are the paper's).

"BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from Transformer".
"""

from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Gt, Lt
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from adamct import kernels
from adamct.batch import Batch, DataSpec
from adamct.models.base import VectorModel
from adamct.models.layers import (
    INIT_STD,
    LAYER_NORM_EPS,
    TransformerLayer,
    initialize,
    item_embedding,
    padding_mask,
    select_positions,
)
from adamct.values import DropoutRate, PositiveInt, Probability


class BERT4Rec(VectorModel):
    """A transformer that fills in masked training items, and predicts at a mask after the history (Section 3.6).

    In a share ``last_prob`` of the training histories only the last item is masked, as in prediction. The scores are
    LN(GELU(h W^P + b^P)) E^T + b^O (Eq. 7). The equations have neither this LayerNorm nor the one of the embeddings.
    Both are in the authors' code, which produced the paper's numbers, and in RecBole. On Beauty the best validation
    NDCG@10 of 24 epochs is .0232 among all items and .309 among 100 with them, .0222 and .325 without.

    There is room for ``max_len`` items and the mask. The authors' code and RecBole drop the oldest item for the mask.
    The authors' softmax also has padding and the mask as classes.
    """

    all_positions = True

    def __init__(
        self,
        spec: DataSpec,
        hidden_size: PositiveInt,
        num_layers: PositiveInt,
        num_heads: PositiveInt,
        inner_size: PositiveInt,
        dropout: DropoutRate,
        attn_dropout: DropoutRate,
        mask_prob: Annotated[float, Gt(0), Lt(1)],
        last_prob: Probability,
    ):
        super().__init__()
        self.mask_prob = mask_prob
        self.last_prob = last_prob
        self.item_embedding = item_embedding(spec, hidden_size)
        self.mask_embedding = nn.Parameter(torch.randn(hidden_size) * INIT_STD)
        self.position_embedding = nn.Embedding(spec.max_len + 1, hidden_size)
        self.embedding_norm = nn.LayerNorm(hidden_size, LAYER_NORM_EPS)
        self.dropout = kernels.Dropout(dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(hidden_size, num_heads, inner_size, dropout, attn_dropout) for _ in range(num_layers)
        )
        self.head = nn.Linear(hidden_size, hidden_size)
        self.head_norm = nn.LayerNorm(hidden_size, LAYER_NORM_EPS)
        self.output_bias = nn.Parameter(torch.zeros(spec.num_items + 1))
        self.apply(initialize)

    def states(
        self, item_seq: Int[Tensor, "B N"], masked: Bool[Tensor, "B N"], seq_len: Int[Tensor, " B"]
    ) -> Float[Tensor, "B N D"]:
        """Return the encoder's output (Eq. 1-6) for histories of ``seq_len`` positions, some of them masked."""
        items = torch.where(masked.unsqueeze(-1), self.mask_embedding, self.item_embedding(item_seq))
        hidden = self.dropout(self.embedding_norm(items + self.position_embedding.weight[: item_seq.shape[1]]))
        present = torch.arange(item_seq.shape[1], device=item_seq.device) < seq_len[:, None]
        mask = padding_mask(present)
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return hidden

    def queries(self, batch: Batch) -> Float[Tensor, "B D"]:
        item_seq = F.pad(batch.item_seq, (0, 1))
        masked = torch.arange(item_seq.shape[1], device=item_seq.device) == batch.seq_len[:, None]
        return self._output(select_positions(self.states(item_seq, masked, batch.seq_len + 1), batch.seq_len))

    def training_pairs(self, batch: Batch) -> tuple[Float[Tensor, "M D"], Int[Tensor, " M"]]:
        item_seq = F.pad(batch.item_seq, (0, 1)).scatter(1, batch.seq_len[:, None], batch.target[:, None])
        is_last = torch.arange(item_seq.shape[1], device=item_seq.device) == batch.seq_len[:, None]
        cloze = (torch.rand(item_seq.shape, device=item_seq.device) < self.mask_prob) & (item_seq != 0)
        only_last = torch.rand(len(item_seq), 1, device=item_seq.device) < self.last_prob
        masked = torch.where(only_last | ~cloze.any(1, keepdim=True), is_last, cloze)
        return self._output(self.states(item_seq, masked, batch.seq_len + 1)[masked]), item_seq[masked]

    def _output(self, state: Float[Tensor, "M D"]) -> Float[Tensor, "M D"]:
        return self.head_norm(F.gelu(self.head(state)))

    def item_table(self) -> Float[Tensor, "V D"]:
        return self.item_embedding.weight

    def item_bias(self) -> Float[Tensor, " V"]:
        return self.output_bias
