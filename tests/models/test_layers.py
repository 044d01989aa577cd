"""What models share, against what it stands for."""

import pytest
import torch
import torch.nn.functional as F

from adamct.models.layers import Dropout, MultiHeadAttention, ShortSoftmax, causal_mask, over_positions


@pytest.mark.parametrize("p", [0.1, 0.43, 0.5, 0.99, 1 - 2**-20])
def test_dropout_keeps_what_it_should_and_the_mean(p: float) -> None:
    torch.manual_seed(0)
    count = 1_000_001  # no multiple of the elements that share a number
    x = torch.ones(count, requires_grad=True)
    dropped = Dropout(p)(x)
    kept = dropped.detach() != 0
    exact = min(round(p * 2**16), 2**16 - 1) / 2**16
    deviation = (exact * (1 - exact) / count) ** 0.5
    assert abs(kept.double().mean() - (1 - exact)) < 5 * deviation
    assert dropped[kept].unique().tolist() == pytest.approx([1 / (1 - exact)])
    dropped.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, dropped.detach())


def test_elements_are_dropped_independently() -> None:
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(400_000)) != 0).double().view(-1, 4) - 0.5
    covariance = kept.T @ kept / len(kept)  # of the four elements that one random number decides on
    assert torch.allclose(covariance, 0.25 * torch.eye(4, dtype=torch.double), atol=0.003)
    assert abs((kept[:-1] * kept[1:]).mean()) < 0.003


def test_dropout_follows_the_generator_and_leaves_evaluation_alone() -> None:
    dropout, x = Dropout(0.3), torch.randn(3, 5, 7)
    torch.manual_seed(1)
    first, second = dropout(x), dropout(x)
    torch.manual_seed(1)
    assert torch.equal(dropout(x), first)
    assert not torch.equal(second, first)
    assert torch.equal(dropout.eval()(x), x)


def test_attention_is_the_same_whether_or_not_it_could_drop() -> None:
    torch.manual_seed(0)
    attention, x = MultiHeadAttention(8, 2, 0.0, bias=True).double(), torch.randn(4, 6, 8).double()
    mask = causal_mask(torch.arange(6) < torch.tensor([6, 5, 1, 3])[:, None])
    assert torch.equal(attention.train()(x, mask), attention.eval()(x, mask))
    query, key, value = attention.query_key_value(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
    expected = F.scaled_dot_product_attention(query, key, value, mask.double()).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attention(x, mask), expected)
    parameters = list(attention.parameters())
    given = torch.autograd.grad(attention(x, mask).square().sum(), parameters)
    wanted = torch.autograd.grad(expected.square().sum(), parameters)
    torch.testing.assert_close(given, wanted)


def test_short_softmax_is_the_softmax_and_so_are_its_gradients() -> None:
    torch.manual_seed(0)
    scores = (30 * torch.randn(5, 2, 7, 7)).masked_fill(torch.ones(7, 7).triu(1).bool(), -torch.inf).requires_grad_()
    weights, expected = ShortSoftmax.apply(scores), scores.softmax(-1)
    torch.testing.assert_close(weights, expected)
    assert torch.equal(weights == 0, expected < 1e-30)
    outer = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad((weights * outer).sum(), scores), torch.autograd.grad((expected * outer).sum(), scores)
    )


@pytest.mark.parametrize(("kernel_size", "padding", "dilation"), [(1, 0, 1), (3, 1, 1), (5, 2, 1), (3, 0, 4)])
def test_a_convolution_over_positions_is_torchs_own(kernel_size: int, padding: int, dilation: int) -> None:
    convolution = torch.nn.Conv1d(6, 4, kernel_size, padding=padding, dilation=dilation)
    x = torch.randn(3, 11, 6)
    torch.testing.assert_close(over_positions(convolution, x), convolution(x.transpose(1, 2)).transpose(1, 2))
