# Nearest neighbours among the training images: nothing is trained, so the backbone itself is what is measured.
# Evaluate a backbone's file: python tools/test.py configs/classification/resnet50_8xb256-knn_in1k.py backbone.pth
_base_ = ['mmpretrain::_base_/datasets/imagenet_bs64_pil_resize.py', 'mmpretrain::_base_/default_runtime.py']

custom_imports = dict(imports=['hgkd_mm.models', 'hgkd_mm.hooks'], allow_failed_imports=False)
data_root = 'data/imagenet'
neighbours = 20
temperature = 0.07

model = dict(
    type='ImageClassifier',
    head=dict(type='hgkd_mm.KNNHead', num_classes=1000, k=neighbours, temperature=temperature),
)
train_dataloader = None
val_dataloader = None
val_evaluator = None
test_dataloader = dict(batch_size=256, num_workers=8, dataset=dict(data_root=data_root))
test_cfg = dict()

custom_hooks = [
    dict(
        type='hgkd_mm.KNNBankHook',
        dataloader=dict(
            batch_size=256,
            num_workers=8,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
            dataset=dict(type='ImageNet', data_root=data_root, split='train', pipeline=_base_.test_pipeline),
        ),
    ),
    dict(
        type='hgkd_mm.ResultHook',
        task='classification',
        dataset=dict(name='ImageNet-1k', version='ILSVRC2012'),
        protocol=dict(epochs=1, batch_size=2048, resolution=224, recipe='kNN on frozen features, k 20, T 0.07'),
    ),
]
