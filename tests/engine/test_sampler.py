"""Order and looks of samples depend on seed, epoch and place alone."""

import random

import numpy as np
import pytest
import torch

from hgkd_mm.engine.sampler import ResumableBatchSampler, SeededFetch, build_train_dataloader
from hgkd_mm.seeding import seed_everything, seeded


class Draws(torch.utils.data.Dataset):
    """Each sample is its index and a number drawn from each generator."""

    def __len__(self):
        return 11

    def __getitem__(self, index):
        return np.array([index, np.random.random(), torch.rand(()).item(), random.random()])


def batches(workers=0, epoch=0, first=0, batch_size=3, sampler='DefaultSampler', seed=5):
    config = dict(
        dataset=Draws(),
        batch_size=batch_size,
        num_workers=workers,
        sampler=dict(type=sampler, shuffle=True),
        collate_fn=dict(type='default_collate'),
    )
    loader = build_train_dataloader(config, seed)
    loader.batch_sampler.start(epoch, first)
    return loader


def test_workers_do_not_matter():
    one, two = list(batches(0)), list(batches(2))
    assert len(one) == 4 == len(batches())
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_batch_size_does_not_matter():
    assert torch.equal(torch.cat(list(batches(batch_size=3))), torch.cat(list(batches(batch_size=4))))


def test_it_goes_on_within_an_epoch_without_loading_what_was_seen():
    whole = list(batches(epoch=2))
    loader, seen = batches(epoch=2, first=2), []
    plain = loader.dataset.__getitems__.read
    loader.dataset.__getitems__.read = lambda dataset, index: seen.append(index) or plain(dataset, index)
    rest = list(loader)
    assert [torch.equal(a, b) for a, b in zip(rest, whole[2:], strict=True)] == [True, True]
    assert len(seen) == 5
    assert len(list(loader)) == 4  # the next epoch is whole again


def test_epochs_and_seeds_differ():
    first, second, other = (torch.cat(list(batches(epoch=e, seed=s))) for e, s in ((0, 5), (1, 5), (0, 6)))
    assert sorted(first[:, 0]) == sorted(second[:, 0])
    assert not torch.equal(first[:, 0], second[:, 0]) and not torch.equal(first[:, 1], other[:, 1])
    assert len(set(first[:, 1].tolist())) == 11  # samples differ too


def test_an_endless_stream_goes_on_where_it_was():
    stream = iter(batches(sampler='InfiniteSampler'))
    whole = [next(stream) for _ in range(9)]
    later = iter(batches(sampler='InfiniteSampler', first=6))
    assert all(torch.equal(next(later), batch) for batch in whole[6:])


@pytest.mark.parametrize('world_size', [2, 3])
def test_a_sample_looks_the_same_however_many_processes_share_the_work(world_size):
    whole = torch.cat(list(batches(batch_size=6)))
    dataset = Draws()
    fetch = SeededFetch(dataset, 5)
    for rank in range(world_size):
        order = whole[rank::world_size, 0].int().tolist()
        sampler = ResumableBatchSampler(order, 2)
        sampler.rank, sampler.world_size = rank, world_size
        found = np.concatenate([fetch(batch) for batch in sampler])
        np.testing.assert_array_equal(found, whole[rank::world_size].numpy())


def test_seeding_is_undone():
    seed_everything(1)
    expected = torch.rand(3), np.random.random(3)
    seed_everything(1)
    with seeded(2, 3):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), expected[0]) and np.array_equal(np.random.random(3), expected[1])
    with seeded(2, 3):
        assert torch.equal(torch.rand(3), inside)
