"""Feed-forward parts of a transformer's layers: which linear maps they are, and how to remove neurons from them.

They are found by their shapes and by what their neurons do, so that no architecture has to be named.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Call:
    """A call of a layer: the states, shape (texts, tokens, width), and what the model passes along with them."""

    states: Tensor
    arguments: tuple[Any, ...]
    options: dict[str, Any]

    @classmethod
    def of(cls, arguments: tuple[Any, ...], options: dict[str, Any]) -> Call:
        """Return a call from what a hook of the layer is given."""
        if arguments:
            return cls(arguments[0], arguments[1:], options)
        return cls(options["hidden_states"], (), {k: v for k, v in options.items() if k != "hidden_states"})

    def run(self, layer: nn.Module, states: Tensor) -> Tensor:
        """Return what the layer makes of these ``states``."""
        made = layer(states, *self.arguments, **self.options)
        return made if isinstance(made, Tensor) else made[0]


@dataclass(frozen=True)
class FeedForward:
    """The linear maps from a layer's states to its neurons, and the one from the neurons back.

    A map to a multiple of the neurons has several rows for each neuron n: n, n + neurons, and so on. Gates are made so.
    """

    into: Sequence[nn.Linear]
    back: nn.Linear
    adds_inputs: bool
    """Whether the layer goes on with a norm of inputs + outputs of this part, as BERT's do."""

    def keep(self, neurons: Tensor, solution: Tensor) -> None:
        """Remove all other neurons, and lead back from these by ``solution``, shape (neurons + 1, width)."""
        for linear in self.into:
            rows = self.rows(linear, neurons)
            linear.weight = nn.Parameter(linear.weight[rows])
            if linear.bias is not None:
                linear.bias = nn.Parameter(linear.bias[rows])
            linear.out_features = len(rows)
        self.back.weight = nn.Parameter(solution[:-1].T.contiguous())
        self.back.bias = nn.Parameter(solution[-1])
        self.back.in_features = len(neurons)

    def rows(self, linear: nn.Linear, neurons: Tensor) -> Tensor:
        """Return the rows of a map into the part that belong to ``neurons``."""
        return torch.cat([neurons + start for start in range(0, linear.out_features, self.back.in_features)])


@torch.no_grad()
def find_feed_forward(layer: nn.Module, width: int, call: Call) -> FeedForward | None:
    """Return the feed-forward part of a layer with states of this ``width``; None where it has none of a known form."""
    linears = [module for module in layer.modules() if isinstance(module, nn.Linear)]
    for back in linears:
        if back.out_features == width:
            fitting = [part for part in linears if not part.out_features % back.in_features and part is not back]
            if into := [part for part in fitting if _leads_to_neurons(part, back, layer, call)]:
                return FeedForward(into, back, _adds_inputs(into[0], back, layer, call))
    return None


def _leads_to_neurons(linear: nn.Linear, back: nn.Linear, layer: nn.Module, call: Call) -> bool:
    """Say whether each value that ``linear`` makes of a token changes one value of that token before ``back``.

    Attention also leads to a larger width and back, but its values change other tokens, or the whole head.
    """
    before: list[Tensor] = []

    def change(_module: nn.Module, _inputs: tuple[Tensor], output: Tensor) -> Tensor:
        output = output.clone()
        output.view(-1)[0] = 10.0  # the first value of the first token
        return output

    with ExitStack() as stack:
        stack.callback(back.register_forward_pre_hook(lambda _, inputs: before.append(inputs[0])).remove)
        call.run(layer, call.states)
        stack.callback(linear.register_forward_hook(change).remove)
        call.run(layer, call.states)
    return (before[0] != before[1]).flatten().nonzero().flatten().tolist() == [0]


def _adds_inputs(first: nn.Linear, back: nn.Linear, layer: nn.Module, call: Call) -> bool:
    """Say whether the layer makes the same of all tokens where the outputs are minus the inputs: their sum is then zero."""
    inputs: list[Tensor] = []
    with ExitStack() as stack:
        stack.callback(first.register_forward_pre_hook(lambda _, given: inputs.append(given[0])).remove)
        stack.callback(back.register_forward_hook(lambda *_: -inputs[-1]).remove)
        made = call.run(layer, call.states).flatten(0, -2)
    return torch.allclose(made, made[:1].expand_as(made), atol=1e-4)


def choose_neurons(
    neurons: Tensor, targets: Tensor, weights: Tensor, count: int, penalty: float
) -> tuple[Tensor, Tensor]:
    """Return the ``count`` neurons that lead best to the targets together, and the ridge regression from them.

    They are chosen one after another by what each adds to those before it (orthogonal least squares, Chen, Billings and
    Luo 1989).

    Args:
        neurons: values of the neurons, shape (rows, neurons).
        targets: what they lead to, shape (rows, width).
        weights: of the rows' errors, shape (rows, 1).
        count: how many stay.
        penalty: of the regression, a share of the mean variance.

    Returns:
        Positions, shape (count,), and weights with the bias as last row, shape (count + 1, width).
    """
    rows = torch.cat([neurons, torch.ones(len(neurons), 1)], dim=1) * weights
    gram, product = (rows.T @ rows).double(), (rows.T @ (targets * weights)).double()
    ridge = penalty * float(gram.diagonal().mean())
    gram.diagonal().add_(ridge)
    chosen = [len(gram) - 1]  # the constant
    left, missing = gram.clone(), product.clone()  # what the chosen ones do not explain
    while len(chosen) <= count:
        scale = left[chosen[-1], chosen[-1]].clamp(min=ridge).sqrt()  # rounding takes it below what it can be
        column, row = left[chosen[-1]] / scale, missing[chosen[-1]] / scale
        left.addr_(column, column, alpha=-1)
        missing.addr_(column, row, alpha=-1)
        gain = missing.square().sum(1) / left.diagonal().clamp(min=ridge)
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
    kept = torch.tensor([*sorted(chosen[1:]), chosen[0]])
    solution: Tensor = torch.linalg.solve(gram[kept][:, kept], product[kept])
    return kept[:-1], solution.float()
