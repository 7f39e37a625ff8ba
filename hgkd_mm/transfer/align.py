"""Weights of one implementation of a network for another one, whatever either calls its parameters."""

import torch
from torch import Tensor, nn

from ..errors import WeightsError


@torch.no_grad()
def align_by_execution(source: nn.Module, target: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Give ``target``'s state dict the values of ``source``, pairing their layers in the order in which they run.

    Args:
        source: Network with the weights.
        target: The same network by another hand. Layers that do not run are left out.
        images: ``(B, 3, H, W)``, to run both on.

    Returns:
        Values for the keys of ``target``'s layers that ran.

    Raises:
        WeightsError: The networks have different layers.
    """
    sources, targets = (_layers_as_run(network, images) for network in (source, target))
    if len(sources) != len(targets):
        raise WeightsError(
            f'{type(source).__name__} has {len(sources)} layers with weights, {type(target).__name__} {len(targets)}: '
            'not the same network'
        )
    names = {id(module): name for name, module in target.named_modules()}
    values = {}
    for ours, theirs in zip(sources, targets, strict=True):
        there = list(_own_tensors(theirs).items())
        here = list(_own_tensors(ours).values())
        prefix = names[id(theirs)]
        if [value.numel() for value in here] != [value.numel() for _, value in there]:
            raise WeightsError(
                f'layer {prefix!r} of {type(target).__name__} holds {[tuple(v.shape) for _, v in there]}, ours '
                f'{[tuple(v.shape) for v in here]}: not the same network'
            )
        for value, (key, like) in zip(here, there, strict=True):
            values[f'{prefix}.{key}'.lstrip('.')] = value.detach().reshape(like.shape).clone()
    return values


def _own_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and saved buffers of a module itself, without its children's."""
    own = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
    return {key: own[key] for key in own if key not in module._non_persistent_buffers_set}


def _layers_as_run(network: nn.Module, images: Tensor) -> list[nn.Module]:
    """Modules with tensors of their own, in the order in which they are first called."""
    order: dict[nn.Module, None] = {}
    handles = [
        module.register_forward_pre_hook(lambda layer, _: order.setdefault(layer))
        for module in network.modules()
        if _own_tensors(module)
    ]
    try:
        network.eval()
        network(images)
    finally:
        for handle in handles:
            handle.remove()
    return list(order)
