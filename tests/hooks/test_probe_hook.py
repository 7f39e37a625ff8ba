"""The probes' classifiers against naive ones; features from several processes."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from mmpretrain.registry import MODELS

from hgkd_mm.errors import ConfigError
from hgkd_mm.hooks import ProbeHook, TeacherHook
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


@pytest.fixture
def small_run(tiny_teacher, mini_cutoutscenes):
    """A run with a teacher, as its hooks see it, and loaders of the images to probe with."""

    def loader(split):
        pipeline = [dict(type='LoadImageFromFile'), dict(type='mmpretrain.PackInputs')]
        root = str(mini_cutoutscenes / 'classification' / split)
        dataset = dict(type='mmpretrain.CustomDataset', data_root=root, pipeline=pipeline)
        sampler = dict(type='DefaultSampler', shuffle=False)
        return dict(batch_size=5, sampler=sampler, dataset=dataset, collate_fn=dict(type='default_collate'))

    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(type='mmpretrain.ResNet', depth=18, base_channels=8, stem_channels=8),
            data_preprocessor=dict(mean=[120, 120, 120], std=[60, 60, 60]),
        )
    )

    def start(**teacher):
        hook = TeacherHook(dict(tiny_teacher, **teacher))
        logs = dict(message_hub=Mock(), visualizer=Mock(), epoch=0)
        runner = SimpleNamespace(model=model, hooks=[hook], build_dataloader=Runner.build_dataloader, **logs)
        hook.before_train(runner)
        return runner

    return start, loader('train'), loader('val')


def test_the_teacher_is_probed_once_by_its_mean_tokens_of_the_same_images(small_run, mini_cutoutscenes, monkeypatch):
    start, *loaders = small_run
    runner = start(layer=[1, 2])
    teacher = runner.hooks[0].teacher
    data = []
    for split in ('train', 'val'):
        folders = sorted((mini_cutoutscenes / 'classification' / split).iterdir())
        files = [(path, label) for label, folder in enumerate(folders) for path in sorted(folder.iterdir())]
        images = [torch.from_numpy(cv2.imread(str(path))).permute(2, 0, 1) for path, _ in files]
        tokens = [teacher.teachers[0](image[None])[1][0] for image in images]  # of the second of two layers
        data += [torch.stack([part.flatten(1).mean(1) for part in tokens]), torch.tensor([label for _, label in files])]
    hook = ProbeHook(*loaders, k=3, num_batches=1, probe_teacher=True)
    found = hook.probe(runner)
    assert found['teacher_knn_top1'] == pytest.approx(knn_accuracy(*data, k=3))
    assert found['teacher_linear_top1'] == pytest.approx(linear_accuracy(*data))
    monkeypatch.setattr(type(teacher), 'forward', None)  # asked no more
    assert hook.probe(runner) == found
    logged = [call.args for call in runner.message_hub.update_scalar.call_args_list]
    assert logged.count(('val/teacher_knn_top1', found['teacher_knn_top1'])) == 2


def test_without_a_teacher_only_the_student_is_probed(small_run):
    start, *loaders = small_run
    runner = start()
    runner.hooks = []
    found = ProbeHook(*loaders, num_batches=1, probe_teacher=True).probe(runner)
    assert found.keys() == {'knn_top1', 'linear_top1'}


def test_a_teacher_of_visible_patches_is_not_probed(small_run):
    start, *loaders = small_run
    hook = ProbeHook(*loaders, num_batches=1, probe_teacher=True)
    with pytest.raises(ConfigError, match="found a teacher of target='visible', not 'full'"):
        hook.probe(start(target='visible'))


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
runner = SimpleNamespace(model=model, hooks=[], build_dataloader=Runner.build_dataloader, **logs)
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
