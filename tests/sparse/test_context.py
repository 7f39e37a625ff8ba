"""No global state: nested calls, threads, copies, pickles, checkpointing."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from mmpretrain.models import DenseNet, ResNet

from hgkd_mm.sparse import PatchMask, SparseForward, make_sparse


def student(backend: str = 'packed', **kwargs) -> SparseForward:
    torch.manual_seed(0)
    net = ResNet(18, base_channels=8, stem_channels=8, out_indices=(0, 1, 2, 3), **kwargs).double()
    net.eval()
    return make_sparse(net, backend)


def mask_of(seed: int) -> PatchMask:
    visible = torch.rand(2, 2, 3, generator=torch.Generator().manual_seed(seed)) < 0.5
    visible[:, 0, 0] = True
    return PatchMask(visible, 32)


IMAGES = torch.randn(2, 3, 64, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(9))


def same(one, other) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_two_students_and_nested_calls_do_not_disturb_each_other(backend):
    first, second = student(backend), student(backend)
    alone, other = first(IMAGES, mask_of(1)), second(IMAGES, mask_of(2))
    assert not same(alone, other)
    seen = []
    second.backbone.layer2.register_forward_hook(lambda *_: seen.append(first(IMAGES, mask_of(1))))
    first.backbone.layer3.register_forward_hook(lambda *_: seen.append(None))
    assert same(second(IMAGES, mask_of(2)), other)
    assert same(seen[-1], alone)


def test_a_student_inside_itself_with_another_mask():
    net = student()
    alone = net(IMAGES, mask_of(1))
    inner = []

    def call_again(*_: object) -> None:
        if not inner:
            inner.append(None)
            inner.append(net(IMAGES, mask_of(2)))

    net.backbone.layer1[0].conv1.register_forward_hook(call_again)
    assert same(net(IMAGES, mask_of(1)), alone)
    assert not same(inner[1], alone)


def test_threads_share_a_network_with_different_masks(backend):
    net = student(backend)
    masks = [mask_of(seed) for seed in range(4)]
    alone = [net(IMAGES, mask) for mask in masks]
    barrier = Barrier(len(masks))

    def run(mask: PatchMask):
        barrier.wait()
        return [net(IMAGES, mask) for _ in range(5)]

    with ThreadPoolExecutor(len(masks)) as pool:
        for found, expected in zip(pool.map(run, masks), alone, strict=True):
            assert all(same(outputs, expected) for outputs in found)


@pytest.mark.parametrize('with_cp', [False, True])
def test_copies_and_pickles_work_on_their_own(with_cp):
    net = student(with_cp=with_cp)
    alone = net(IMAGES, mask_of(1))
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert twin.context is twin.backbone.conv1.sparse_context is not net.context
        with net.context.use(mask_of(2)):
            assert same(twin(IMAGES, mask_of(1)), alone)
        assert list(twin.backbone.state_dict()) == list(net.backbone.state_dict())
        twin.backbone.load_state_dict(net.backbone.state_dict())


def test_gradient_checkpointing_recomputes_under_the_mask_of_its_forward(backend):
    plain, checkpointed = student(backend), student(backend, with_cp=True)
    gradients = []
    for net in (plain, checkpointed):
        loss = sum(feat.square().mean() for feat in net(IMAGES, mask_of(1)))
        with net.context.use(mask_of(2)):  # what is in force in the backward pass must not matter
            loss.backward()
        gradients.append([p.grad for p in net.backbone.parameters()])
    assert all(g.abs().max() > 0 for g in gradients[0])
    assert same(*gradients)


def test_gradient_checkpointing_saves_memory_and_dense_calls_still_work():
    kept = {}
    for with_cp in (False, True):
        net = student(with_cp=with_cp)
        sizes = kept[with_cp] = []

        def note(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            net(IMAGES.requires_grad_(), mask_of(1))
        assert same(net.backbone(IMAGES), student().backbone(IMAGES))
    assert sum(kept[True]) < 0.6 * sum(kept[False])


def test_memory_efficient_densenet_recomputes_under_the_mask_of_its_forward(backend):
    arch = dict(growth_rate=8, depths=[2, 2], init_channels=16)
    gradients = []
    for memory_efficient in (False, True):
        torch.manual_seed(0)
        net = DenseNet(arch, memory_efficient=memory_efficient, out_indices=(0, 1)).double()
        forward = make_sparse(net, backend)
        sum(feat.square().mean() for feat in forward(IMAGES, mask_of(1))).backward()
        gradients.append([p.grad for p in net.parameters()])
    assert all(g is not None and g.abs().max() > 0 for g in gradients[0])
    assert same(*gradients)
