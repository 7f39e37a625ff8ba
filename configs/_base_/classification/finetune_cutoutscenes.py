# Classifier of the scene's main object; pretrained=backbone.pth fine-tunes it.
_base_ = ['mmpretrain::resnet/resnet18_8xb32_in1k.py', '../cutoutscenes.py']

pretrained = None  # backbone.pth; None trains from scratch
fold = 0
data_root = f'data/cutoutscenes/fold{fold}'
img_size = 128
batch_size = 32
max_epochs = 30
val_interval = 1  # epochs
label_share = 1.0  # of the training scenes: 1.0, 0.25 or 0.1, the same ones in every run of a fold
warmup_epochs = min(2, max_epochs / 2)
lr = 1e-3
head_lr_mult = 1.0  # of the classifier; above 1, with a lower lr, lets a pretrained backbone keep more of what it knows
num_workers = 0
in_memory = False  # True keeps decoded images: for GPUs

classes = _base_.classes
data_preprocessor = dict(num_classes=len(classes))
model = dict(head=dict(num_classes=len(classes), topk=(1,)))

train_pipeline = [
    dict(type='hgkd_mm.LoadImageFromFile', in_memory=in_memory),
    dict(type='RandomResizedCrop', scale=img_size, crop_ratio_range=(0.5, 1.0)),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='hgkd_mm.LoadImageFromFile', in_memory=in_memory),
    dict(type='Resize', scale=(img_size, img_size)),
    dict(type='PackInputs'),
]
dataset = dict(
    _delete_=True,
    type='CustomDataset',
    data_root=data_root,
    classes=classes,
)
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    dataset=dict(
        **dataset,
        ann_file='' if label_share == 1 else f'classification/meta/train_{100 * label_share:g}percent.txt',
        data_prefix='classification/train',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    dataset=dict(**dataset, data_prefix='classification/val', pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='Accuracy', topk=(1,))
test_evaluator = val_evaluator

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', fused=True, lr=lr, weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        **({} if head_lr_mult == 1 else dict(custom_keys=dict(head=dict(lr_mult=head_lr_mult)))),
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=warmup_epochs, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=warmup_epochs, end=max_epochs, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=max_epochs, val_interval=val_interval)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=1, max_keep_ckpts=1, save_last=True))
randomness = dict(seed=0)
custom_hooks = [
    dict(
        type='hgkd_mm.ResultHook',
        task='classification',
        dataset=dict(
            name='CutoutScenes' + ('' if label_share == 1 else f', {100 * label_share:g} % of the labels'), fold=fold
        ),
        protocol=dict(
            epochs=max_epochs,
            batch_size=batch_size,
            resolution=img_size,
            recipe='AdamW, cosine, crop + flip + colour jitter'
            + ('' if head_lr_mult == 1 else f', {head_lr_mult:g} times the lr for the head'),
        ),
    )
]
del dataset
