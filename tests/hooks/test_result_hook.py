import hashlib
import json

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmpretrain.structures import DataSample

from hgkd_mm.errors import ConfigError, RecordError
from hgkd_mm.hooks import SafeCheckpointHook
from hgkd_mm.hooks.result_hook import ResultHook, dataset_facts, read_pretraining
from hgkd_mm.leaderboard import facts
from hgkd_mm.leaderboard.record import load_record
from hgkd_mm.statistics.predictions import read_predictions

HOOK = dict(
    task='classification',
    dataset='toy',
    protocol=dict(recipe='SGD', resolution='8-16'),
)


class _Net(BaseModel):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(2, 1)

    @property
    def backbone(self):
        return self.fc

    def forward(self, x, mode='tensor'):
        y = self.fc(x)
        return {'loss': y.mean()} if mode == 'loss' else [y]


class _Classifier(_Net):
    """Says class n to every image of its n-th batch."""

    batches = 0

    def forward(self, x, mode='tensor'):
        if mode == 'loss':
            return super().forward(x, mode)
        self.batches += 1
        samples = [
            DataSample(metainfo=dict(img_path=f'{i}.png')) for i in range(2 * self.batches - 2, 2 * self.batches)
        ]
        return [sample.set_gt_label(1).set_pred_label(self.batches) for sample in samples]


class _Metric(BaseMetric):
    """Gives the n-th of the listed values at the n-th evaluation."""

    def __init__(self, values):
        super().__init__()
        self.values = iter(values)

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return {'accuracy/top1': next(self.values)}


class _Data(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {'x': torch.ones(2)}


def _loader():
    return torch.utils.data.DataLoader(_Data(), batch_size=2)


def _run(tmp_path, epochs, values, hook=HOOK, val_interval=1, cfg=None, model=_Net, more_hooks=(), **options):
    """Train the toy for ``epochs``; the evaluations give ``values`` one after the other."""
    evaluated = dict(val_dataloader=_loader(), val_evaluator=[_Metric(values)], val_cfg=dict())
    runner = Runner(
        model=model(),
        work_dir=str(tmp_path),
        train_dataloader=_loader(),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        train_cfg=dict(by_epoch=True, max_epochs=epochs, val_interval=val_interval),
        custom_hooks=[ResultHook(**hook), *more_hooks],
        default_hooks=dict(checkpoint=dict(type=SafeCheckpointHook, interval=1)),
        cfg=Config(
            dict(
                train_cfg=dict(max_epochs=epochs),
                train_dataloader=dict(batch_size=2),
                optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
                **(cfg or {}),
            )
        ),
        experiment_name=f'{tmp_path.name}-{len(list(tmp_path.iterdir()))}',
        log_level='ERROR',
        randomness=dict(seed=7),
        **evaluated,
        **options,
    )
    runner.train()
    return runner


def _test(work_dir, checkpoint, value, hook=HOOK):
    runner = Runner(
        model=_Net(),
        work_dir=str(work_dir),
        load_from=str(checkpoint),
        test_dataloader=_loader(),
        test_evaluator=[_Metric([value])],
        test_cfg=dict(),
        custom_hooks=[ResultHook(**hook)],
        cfg=Config(dict(train_dataloader=dict(batch_size=2), train_cfg=dict(max_epochs=3))),
        experiment_name=f'{work_dir.parent.name}-test',
        log_level='ERROR',
    )
    runner.test()
    return load_record(work_dir / 'result.json')


def test_record_has_the_last_epoch_and_not_the_best_one(tmp_path):
    _run(tmp_path, 3, [10.0, 60.0, 40.0])
    record = load_record(tmp_path / 'result.json')
    assert record.metrics == {'top1': 40.0}
    assert [(p.epoch, p.metrics['top1']) for p in record.curve] == [(1, 10), (2, 60), (3, 40)]
    assert record.pretraining is None
    assert (record.protocol.epochs, record.protocol.batch_size, record.protocol.lr) == (3, 2, 0.1)
    assert (record.model.name, record.model.params, record.seed) == ('_Net', 3, 7)


def test_record_names_the_code_that_the_run_began_with(tmp_path, monkeypatch):
    class Committing(Hook):
        def after_train_epoch(self, runner):
            monkeypatch.setattr(facts, 'code', lambda: dict(version='later'))

    monkeypatch.setattr(facts, 'code', lambda: dict(version='then', commit='a' * 40, modified=True))
    _run(tmp_path, 1, [10.0], more_hooks=[Committing()])
    code = load_record(tmp_path / 'result.json').code
    assert (code.version, code.commit, code.modified) == ('then', 'a' * 40, True)


def test_record_names_the_evaluated_checkpoint_and_the_config(tmp_path):
    _run(tmp_path, 2, [10.0, 20.0])
    record = load_record(tmp_path / 'result.json')
    assert record.checkpoint.file == 'epoch_2.pth'
    assert record.checkpoint.sha256 == hashlib.sha256((tmp_path / 'epoch_2.pth').read_bytes()).hexdigest()
    assert Config.fromfile(tmp_path / record.config_file).train_cfg.max_epochs == 2


def test_what_a_classifier_said_about_every_image_is_kept_beside_the_record(tmp_path):
    _run(tmp_path, 2, [10.0, 50.0], model=_Classifier)
    record = load_record(tmp_path / 'result.json')
    path = tmp_path / record.predictions.file
    assert record.predictions.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    # of the last evaluation: its batches are the 3rd and 4th that the network has seen
    assert [(one.image, one.label, one.predicted) for one in read_predictions(path)] == [
        ('4.png', 1, 3), ('5.png', 1, 3), ('6.png', 1, 4), ('7.png', 1, 4),
    ]  # fmt: skip


def test_other_tasks_keep_no_predictions(tmp_path):
    _run(tmp_path, 1, [10.0])
    assert load_record(tmp_path / 'result.json').predictions is None
    assert not (tmp_path / 'predictions.csv').exists()


def test_curve_has_the_mean_training_loss_since_the_last_validation(tmp_path):
    runner = _run(tmp_path, 4, [10.0, 20.0], val_interval=2)
    # The loss w1 + w2 + b has the gradient (1, 1, 1): with rate 0.1 each of the 2 steps an epoch takes 0.3 off.
    start = sum(p.sum().item() for p in runner.model.parameters()) + 8 * 0.3
    losses = [p.loss for p in load_record(tmp_path / 'result.json').curve]
    expected = [sum(start - 0.3 * step for step in steps) / 4 for steps in (range(4), range(4, 8))]
    assert losses == pytest.approx(expected, abs=1e-5)


def test_last_epoch_is_evaluated_when_the_interval_leaves_it_out(tmp_path):
    # As after a stop between the last checkpoint and its evaluation.
    _run(tmp_path, 2, [10.0, 20.0])
    (tmp_path / 'result.json').unlink()
    (tmp_path / 'curve.json').write_text(json.dumps(json.loads((tmp_path / 'curve.json').read_text())[:1]))
    _run(tmp_path, 2, [25.0], resume=True, load_from=str(tmp_path / 'epoch_2.pth'))
    assert [p.metrics['top1'] for p in load_record(tmp_path / 'result.json').curve] == [10, 25]


def test_curve_survives_a_resume_and_forgets_what_came_after_the_checkpoint(tmp_path):
    _run(tmp_path, 2, [10.0, 20.0])
    _run(tmp_path, 3, [21.0, 30.0], resume=True, load_from=str(tmp_path / 'epoch_1.pth'))
    curve = load_record(tmp_path / 'result.json').curve
    assert [(p.epoch, p.metrics['top1']) for p in curve] == [(1, 10), (2, 21), (3, 30)]


def test_no_record_of_an_interrupted_training(tmp_path):
    def stop(runner):
        runner.train_loop.stop_training = True

    hook = ResultHook(**HOOK)
    hook.after_train_epoch = stop
    runner = Runner(
        model=_Net(),
        work_dir=str(tmp_path),
        train_dataloader=_loader(),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        train_cfg=dict(by_epoch=True, max_epochs=3),
        val_dataloader=_loader(),
        val_evaluator=[_Metric([1.0, 2.0])],
        val_cfg=dict(),
        custom_hooks=[hook],
        cfg=Config(dict()),
        experiment_name=tmp_path.name,
        log_level='ERROR',
    )
    runner.train()
    assert (tmp_path / 'curve.json').is_file()
    assert not (tmp_path / 'result.json').exists()


def _backbone(path):
    teacher = dict(type='hgkd_mm.ViTTeacher', weights='weights/vit.safetensors', sha256='a' * 64, layer=9)
    meta = dict(method='hgkd_mm.HGKD', teacher=teacher, epochs=20, mask_ratio=0.6, seed=1, recipe_sha256='e' * 64)
    meta['variant'] = 'a control'
    torch.save({'state_dict': {'w': torch.ones(1)}, 'meta': meta}, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_pretraining_is_read_from_the_loaded_file(tmp_path):
    sha256 = _backbone(tmp_path / 'backbone.pth')
    expected = {
        'method': 'HGKD',
        'variant': 'a control',
        'teacher': 'vit',
        'teacher_sha256': 'a' * 64,
        'teacher_layer': 9,
        'targets_shuffled': None,
        'epochs': 20,
        'mask_ratio': 0.6,
        'images': None,
        'seed': 1,
        'recipe_sha256': 'e' * 64,
        'backbone_file': str(tmp_path / 'backbone.pth'),
        'backbone_sha256': sha256,
    }
    path = str(tmp_path / 'backbone.pth')
    assert read_pretraining(Config(dict(pretrained=path))) == expected
    init = dict(type='Pretrained', checkpoint=path)
    assert read_pretraining(Config(dict(model=dict(backbone=dict(init_cfg=init))))) == expected
    init = dict(type='Kaiming', layer='Conv2d')
    assert read_pretraining(Config(dict(model=dict(backbone=dict(init_cfg=[init]))))) is None
    assert read_pretraining(Config(dict(pretrained='torchvision://resnet50'))) == {'method': 'torchvision://resnet50'}


def test_tested_checkpoint_remembers_its_pretraining_and_its_epochs(tmp_path):
    train = tmp_path / 'train'
    train.mkdir()
    sha256 = _backbone(tmp_path / 'backbone.pth')
    _run(train, 3, [10.0, 20.0, 30.0], cfg=dict(pretrained=str(tmp_path / 'backbone.pth')))
    (tmp_path / 'backbone.pth').unlink()
    record = _test(tmp_path / 'test', train / 'epoch_2.pth', 19.0)
    assert record.pretraining.backbone_sha256 == sha256
    assert record.pretraining.backbone_file == '../backbone.pth'  # as seen from the record
    assert record.checkpoint.file == '../train/epoch_2.pth'
    assert record.protocol.epochs == 2
    assert record.seed == 7  # of the training
    assert record.metrics == {'top1': 19.0}
    assert [p.metrics['top1'] for p in record.curve] == [10, 20]


def test_foreign_checkpoint_is_not_called_from_scratch(tmp_path):
    torch.save({'state_dict': _Net().state_dict(), 'meta': {}}, tmp_path / 'foreign.pth')
    assert _test(tmp_path / 'test', tmp_path / 'foreign.pth', 5.0).pretraining.method == 'unknown'


def _manifest(folder, **splits):
    folder.mkdir(parents=True)
    manifest = dict(version=1, fold=3, splits=splits, classes=list('abcd'))
    (folder / 'manifest.json').write_text(json.dumps(manifest))


@pytest.mark.parametrize('key', ['images', 'scenes'])  # the second: of data sets made by earlier versions
def test_manifest_of_the_data_fills_the_dataset_and_the_chance_level(tmp_path, key):
    fold = tmp_path / 'fold0'
    _manifest(fold, train={key: 20, 'sha256': 'a'}, val={key: 8, 'sha256': 'b'})
    data = dict(dataset=dict(type='Repeat', dataset=dict(data_root=str(fold / 'classification'))))
    _run(tmp_path, 2, [10.0, 20.0], cfg=dict(val_dataloader=data))
    record = load_record(tmp_path / 'result.json')
    assert (record.dataset.version, record.dataset.fold) == ('1', 3)
    assert (record.dataset.num_train, record.dataset.num_val) == (20, 8)
    assert record.budget.finetuning_images == 40
    assert record.chance == 25


def test_list_of_training_images_says_how_many_there_are(tmp_path):
    root = tmp_path / 'imagenet'
    _manifest(root, train=dict(images=20, sha256='a'), val=dict(images=8, sha256='b'))

    def facts(**options):
        loaders = {f'{split}_dataloader': dict(dataset=dict(data_root=str(root))) for split in ('train', 'val')}
        loaders['train_dataloader']['dataset'] |= options
        return dataset_facts(Config(loaders))

    (root / 'one.txt').write_text('n01440764/a.JPEG 0\nn01443537/b.JPEG 1\n')
    (root / 'other.txt').write_text('n01440764/c.JPEG 0\nn01443537/b.JPEG 1\n')
    whole, one, other = facts(), facts(ann_file='one.txt'), facts(ann_file='other.txt')
    assert (whole['num_train'], one['num_train'], one['num_val']) == (20, 2, 8)
    assert len({found['sha256'] for found in (whole, one, other)}) == 3
    assert facts(ann_file='instances_train.json') == whole


@pytest.mark.parametrize(
    ('task', 'raw', 'expected'),
    [
        (
            'detection',
            {
                'coco/bbox_mAP': 0.2,
                'coco/segm_mAP': 0.1,
                'coco/bbox_mAP_s': -1,
                'coco/bbox_mAP_75': -1,
            },
            {'box_AP': 20, 'mask_AP': 10},
        ),
        ('segmentation', {'mIoU': 41.5, 'aAcc': 80.0}, {'mIoU': 41.5, 'aAcc': 80}),
    ],
)
def test_metrics_become_percent(task, raw, expected):
    assert ResultHook(**{**HOOK, 'task': task})._percent(raw) == pytest.approx(expected)


def test_missing_primary_metric_names_it():
    with pytest.raises(RecordError, match="'coco/bbox_mAP'"):
        ResultHook(**{**HOOK, 'task': 'detection'})._percent({'coco/segm_mAP': 0.1})


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(task='pose'), "task='pose'"),
        (dict(protocol=dict(recipe='x', resolution=8, epoch=3)), "unknown keys \\['epoch'\\]"),
        (dict(protocol=dict(recipe='x')), "lacks \\['resolution'\\]"),
        (dict(dataset=dict(title='x')), "lacks \\['name'\\]"),
    ],
)
def test_wrong_options_are_named(change, message):
    with pytest.raises(ConfigError, match=message):
        ResultHook(**{**HOOK, **change})


def test_training_from_a_whole_checkpoint_is_not_called_from_scratch(tmp_path):
    weights = tmp_path / 'whole.pth'
    torch.save({'state_dict': _Net().state_dict(), 'meta': {}}, weights)
    (tmp_path / 'run').mkdir()
    _run(tmp_path / 'run', 1, [10.0], load_from=str(weights))
    pretraining = load_record(tmp_path / 'run' / 'result.json').pretraining
    assert pretraining.method == 'checkpoint whole.pth'
    assert pretraining.backbone_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
