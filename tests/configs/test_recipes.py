"""The configs hold the published numbers of the recipes that they name."""

import re
from pathlib import Path

import pytest

from hgkd_mm.engine import load_config

ROOT = Path(__file__).parents[2]


def config(name: str):
    return load_config(ROOT / 'configs' / name)


def find(pipeline: list, kind: str) -> dict:
    return next(step for step in pipeline if step['type'].endswith(kind))


def optimizer_of(cfg, *more: str) -> tuple:
    """Type, learning rate, weight decay and further options, also of its constructor."""
    options = {**cfg.optim_wrapper.optimizer, **(cfg.optim_wrapper.get('paramwise_cfg') or {})}
    return tuple(options[key] for key in ('type', 'lr', 'weight_decay', *more))


@pytest.mark.parametrize(('student', 'beta'), [('resnet50', 0.95), ('convnext-tiny', 0.999)])
def test_spark_pretraining(student, beta):
    cfg = config(f'pretraining/spark_{student}_8xb512-amp-coslr-1600e_in1k.py')
    assert cfg.mask_ratio == 0.6 and cfg.patch_size == 32 and cfg.img_size == 224
    assert cfg.auto_scale_lr == {'enable': True, 'base_batch_size': 4096}
    assert 8 * cfg.train_dataloader.batch_size == 4096
    optimizer = cfg.optim_wrapper.optimizer
    assert optimizer.lr == pytest.approx(2e-4 * 4096 / 256) and optimizer.betas == (0.9, beta)
    assert optimizer.max_grad_norm == 5 and optimizer.weight_decay == 0.04
    warmup, cosine, decay = cfg.param_scheduler
    assert warmup.end == cosine.begin == 40 and cosine.end == decay.end == cfg.train_cfg.max_epochs == 1600
    assert warmup.start_factor == 0.005 and cosine.eta_min_ratio == 0.001 and decay.eta_min == 0.2
    crop = find(cfg.train_dataloader.dataset.pipeline, 'RandomResizedCrop')
    assert crop.crop_ratio_range == (0.67, 1.0) and crop.interpolation == 'bicubic'
    assert cfg.sync_bn == 'torch' and not cfg.model.backbone.get('drop_path_rate')


@pytest.mark.parametrize(('epochs', 'warmup'), [(300, 20), (800, 40)])
def test_hgkd_pretraining(epochs, warmup):
    cfg = config(f'pretraining/hgkd_resnet50_8xb256-amp-coslr-{epochs}e_in1k.py')
    optimizer = cfg.optim_wrapper.optimizer  # MaskDistill's
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ('AdamW', 1.5e-3, 0.05)
    assert cfg.optim_wrapper.clip_grad.max_norm == 3.0 and cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.auto_scale_lr == {'enable': True, 'base_batch_size': 8 * cfg.train_dataloader.batch_size}
    assert (cfg.train_cfg.max_epochs, cfg.param_scheduler[0].end) == (epochs, warmup)


@pytest.mark.parametrize(
    ('student', 'lr', 'decay', 'drop_path'), [('resnet50', 0.016, 0.7, 0.05), ('resnet101', 0.008, 0.8, 0.2)]
)
def test_resnet_fine_tuning(student, lr, decay, drop_path):
    cfg = config(f'classification/{student}_8xb256-coslr-300e_in1k.py')
    assert optimizer_of(cfg, 'layer_decay_rate') == ('Lamb', lr, 0.02, decay)
    assert optimizer_of(cfg, 'norm_decay_mult', 'bias_decay_mult', 'flat_decay_mult')[3:] == (0, 0, 0)
    assert cfg.model.backbone.drop_path_rate == drop_path
    loss = cfg.model.head.loss  # binary cross-entropy
    assert (loss.type, loss.label_smooth_val, loss.use_sigmoid) == ('LabelSmoothLoss', 0.1, True)
    assert [(a.type, a.alpha) for a in cfg.model.train_cfg.augments] == [('Mixup', 0.1), ('CutMix', 1.0)]
    pipeline = cfg.train_dataloader.dataset.pipeline
    assert find(pipeline, 'TrivialAugmentWide').num_magnitude_bins == 31
    assert find(pipeline, 'RandomErasing').erase_prob == 0.25
    test = cfg.test_dataloader.dataset.pipeline
    assert find(test, 'ResizeEdge').scale == 236 and find(test, 'CenterCrop').crop_size == 224
    assert cfg.param_scheduler[0].end == 5 and cfg.train_cfg.max_epochs == 300 and cfg.sync_bn == 'torch'
    assert cfg.auto_scale_lr == {'enable': True, 'base_batch_size': 2048}


def test_convnext_fine_tuning():
    cfg = config('classification/convnext-tiny_8xb256-coslr-300e_in1k.py')
    assert optimizer_of(cfg, 'layer_decay_rate') == ('AdamW', 3.2e-3, 0.05, 0.7)
    assert cfg.model.train_cfg.augments[0].alpha == 0.8 and cfg.custom_hooks[0].type == 'EMAHook'
    assert 8 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 2048


def test_linear_probe_and_knn():
    cfg = config('classification/resnet50_8xb512-linear-coslr-90e_in1k.py')
    assert (cfg.optim_wrapper.optimizer.type, cfg.optim_wrapper.optimizer.lr) == ('LARS', 1.6)
    assert 8 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 4096
    knn = config('classification/resnet50_8xb256-knn_in1k.py')
    assert (knn.model.head.k, knn.model.head.temperature) == (20, 0.07)


def test_mask_rcnn_of_self_supervised_backbones():
    cfg = config('detection/mask-rcnn_r50_fpn_ms-1x_coco.py')
    assert optimizer_of(cfg, 'momentum') == ('SGD', 0.02, 1e-4, 0.9)
    assert cfg.param_scheduler[1].milestones == [8, 11] and cfg.train_cfg.max_epochs == 12
    assert cfg.param_scheduler[0].end == 500
    sync = {'type': 'SyncBN', 'requires_grad': True}
    heads = cfg.model.roi_head
    assert cfg.model.neck.norm_cfg == heads.bbox_head.norm_cfg == heads.mask_head.norm_cfg == sync
    assert heads.bbox_head.type == 'Shared4Conv1FCBBoxHead' and cfg.sync_bn == 'torch'
    scales = find(cfg.train_dataloader.dataset.pipeline, 'RandomChoiceResize').scales
    assert [min(s) for s in scales] == [640, 672, 704, 736, 768, 800]
    assert cfg.auto_scale_lr == {'enable': True, 'base_batch_size': 16}
    longer = config('detection/mask-rcnn_r50_fpn_ms-3x_coco.py')
    assert longer.param_scheduler[1].milestones == [27, 33] and longer.train_cfg.max_epochs == 36


def test_mask_rcnn_with_adamw_and_layer_decay():
    cfg = config('detection/mask-rcnn_r50_fpn_adamw-ms-90k_coco.py')
    assert optimizer_of(cfg, 'layer_decay_rate') == ('AdamW', 2.5e-4, 1e-4, 0.6)
    warmup, steps = cfg.param_scheduler
    assert (warmup.start_factor, warmup.end) == (0.01, 1000)
    assert (steps.milestones, steps.gamma, cfg.train_cfg.max_iters) == ([60000, 80000], 0.25, 90000)
    scales = find(cfg.train_dataloader.dataset.pipeline, 'RandomChoiceResize').scales
    assert (min(min(s) for s in scales), max(min(s) for s in scales)) == (480, 896)
    convnext = config('detection/mask-rcnn_convnext-t_fpn_adamw-ms-crop-3x_coco.py')
    assert optimizer_of(convnext, 'layer_decay_rate') == ('AdamW', 2e-4, 0.05, 0.65)
    assert (convnext.param_scheduler[1].milestones, convnext.param_scheduler[1].gamma) == ([27, 33], 0.2)
    assert convnext.optim_wrapper.type == 'OptimWrapper'  # float32


@pytest.mark.parametrize('iterations', [80, 160])
def test_upernet(iterations):
    cfg = config(f'segmentation/upernet_r50_4xb4-{iterations}k_ade20k-512x512.py')
    assert optimizer_of(cfg, 'momentum') == ('SGD', 0.01, 5e-4, 0.9)
    (poly,) = cfg.param_scheduler
    assert (poly.type, poly.power, poly.eta_min, poly.end) == ('PolyLR', 0.9, 1e-4, iterations * 1000)
    assert cfg.train_cfg.max_iters == iterations * 1000
    assert 4 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 16
    assert cfg.model.auxiliary_head.loss_decode.loss_weight == 0.4
    assert cfg.model.decode_head.num_classes == cfg.model.auxiliary_head.num_classes == 150
    pipeline = cfg.train_dataloader.dataset.pipeline
    resize = find(pipeline, 'RandomResize')
    assert resize.scale == (2048, 512) and resize.ratio_range == (0.5, 2.0)
    assert find(pipeline, 'RandomCrop').crop_size == (512, 512) and find(pipeline, 'LoadAnnotations').reduce_zero_label
    assert find(pipeline, 'PhotoMetricDistortion')


def test_batch_of_every_file_name_is_the_one_that_learning_rates_are_for():
    for path in sorted((ROOT / 'configs').glob('*/*.py')):
        # the same for every student
        if not re.search('(resnet18|r18|convnext-t(iny)?)[_-].*_(in1k|coco|ade20k)', path.name) or '-knn_' in path.name:
            continue
        cfg = load_config(path)
        named = [part for part in path.stem.replace('_', '-').split('-') if 'xb' in part]
        gpus, batch = map(int, named[0].split('xb')) if named else (8, cfg.train_dataloader.batch_size)
        assert cfg.train_dataloader.batch_size == batch, path.name
        assert cfg.auto_scale_lr.enable and cfg.auto_scale_lr.base_batch_size == gpus * batch, path.name
