"""The probes' classifiers against naive ones; features from several processes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hgkd_mm.hooks.features import in_order
from hgkd_mm.hooks.probe_hook import knn_accuracy, linear_accuracy

ROOT = Path(__file__).parents[2]


def test_accuracy_equals_a_loop():
    torch.manual_seed(0)
    bank, queries = torch.randn(30, 5), torch.randn(12, 5)
    bank_labels, labels = torch.randint(0, 4, (30,)), torch.randint(0, 4, (12,))
    hits = 0
    for query, label in zip(queries, labels, strict=True):
        similarities = [float(torch.cosine_similarity(query, x, dim=0)) for x in bank]
        nearest = sorted(range(30), key=lambda i: -similarities[i])[:5]
        votes = torch.zeros(4)
        for i in nearest:
            votes[bank_labels[i]] += torch.tensor(similarities[i] / 0.07).exp()
        hits += int(votes.argmax() == label)
    assert abs(knn_accuracy(bank, bank_labels, queries, labels, k=5) - 100 * hits / 12) < 1e-9
    assert knn_accuracy(bank, bank_labels, bank, bank_labels, k=1) == 100


def test_k_may_exceed_the_bank():
    feats, labels = torch.eye(3), torch.arange(3)
    assert knn_accuracy(feats, labels, feats, labels, k=20) == 100


def test_linear_accuracy_equals_least_squares_with_penalty_rows():
    torch.manual_seed(0)
    bank, queries = 3 * torch.randn(40, 5) + 7, 3 * torch.randn(25, 5) + 7
    truth = torch.randn(5, 4)
    bank_labels, labels = (bank @ truth).argmax(1), (queries @ truth).argmax(1)
    mean, std = bank.double().mean(0).numpy(), bank.double().std(0).numpy() + 1e-6
    x, q = (bank.double().numpy() - mean) / std, (queries.double().numpy() - mean) / std
    y = np.eye(int(bank_labels.max()) + 1)[bank_labels]
    # sqrt(N * penalty) * identity as further rows is the penalty as data
    rows = np.concatenate([x, np.sqrt(40 * 0.1) * np.eye(5)])
    targets = np.concatenate([y - y.mean(0), np.zeros((5, y.shape[1]))])
    weights = np.linalg.lstsq(rows, targets, rcond=None)[0]
    expected = 100 * np.mean((q @ weights + y.mean(0)).argmax(1) == labels.numpy())
    assert 25 < expected < 100
    assert abs(linear_accuracy(bank, bank_labels, queries, labels) - expected) < 1e-9


@pytest.mark.parametrize(('size', 'processes'), [(7, 3), (6, 2), (5, 1), (2, 4)])
def test_samples_dealt_out_to_processes_come_back_in_order(size, processes):
    rounds = -(-size // processes)
    dealt = [index % size for index in range(rounds * processes)]  # padded from the start, as the sampler does
    parts = [torch.tensor(dealt[rank::processes]) for rank in range(processes)]
    assert in_order(parts, size).tolist() == list(range(size))


SCRIPT = """
import os, sys, torch
from types import SimpleNamespace
from unittest.mock import Mock
from mmengine.runner import Runner
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from hgkd_mm.hooks import KNNBankHook, ProbeHook

root, out = sys.argv[1:]
world = int(os.environ.get('WORLD_SIZE', 1))
if world > 1:
    torch.distributed.init_process_group('gloo')
init_default_scope('mmpretrain')

def loader(split, count):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    dataset = dict(type='CustomDataset', data_root=f'{root}/classification/{split}', pipeline=pipeline, indices=count)
    sampler = dict(type='DefaultSampler', shuffle=False)
    return dict(batch_size=8 // world, sampler=sampler, dataset=dataset, collate_fn=dict(type='default_collate'))

torch.manual_seed(0)
model = MODELS.build(dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8),
    head=dict(type='hgkd_mm.KNNHead', num_classes=11),
    data_preprocessor=dict(mean=[120, 120, 120], std=[60, 60, 60]),
))
logs = dict(message_hub=Mock(), visualizer=Mock(), epoch=0)
runner = SimpleNamespace(model=model, build_dataloader=Runner.build_dataloader, **logs)
# odd numbers: the sampler pads the last share
accuracies = ProbeHook(loader('train', 15), loader('val', 7), k=3, num_batches=1).probe(runner)
KNNBankHook(loader('train', 15)).before_test(runner)
torch.save({'accuracies': accuracies, 'bank': model.head.bank, 'labels': model.head.bank_labels},
           f'{out}{os.environ.get("RANK", "")}.pth')
"""


@pytest.mark.slow
def test_two_processes_probe_as_one_does(tmp_path, mini_cutoutscenes):
    script = tmp_path / 'script.py'
    script.write_text(SCRIPT)
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    two = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2']
    for launch, name in (([], 'one'), (two, 'rank')):
        command = [sys.executable, *launch, str(script), str(mini_cutoutscenes), str(tmp_path / name)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
    one, *ranks = (torch.load(tmp_path / f'{name}.pth', weights_only=True) for name in ('one', 'rank0', 'rank1'))
    assert one['bank'].shape == (15, 64) and len(one['labels'].unique()) > 2
    for rank in ranks:
        assert rank['accuracies'] == pytest.approx(one['accuracies'])
        torch.testing.assert_close(rank['bank'], one['bank'])
        assert torch.equal(rank['labels'], one['labels'])
