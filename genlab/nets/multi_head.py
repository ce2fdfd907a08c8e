"""Multi-head self-attention; Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

HEAD = 32  # features per head, if the number of features is a multiple of it


class MultiHead(nn.Module):
    """tokens (N, T, C) -> (N, T, C): what every token takes from all of them."""

    def __init__(self, features: int):
        super().__init__()
        self.heads = features // HEAD if features % HEAD == 0 else 1
        self.queries_keys_values = nn.Linear(features, 3 * features)
        self.leave = nn.Linear(features, features)

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = self.queries_keys_values(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.leave(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
