# H-GKD with a ViT-B/16 teacher pretrained by MAE. Optimizer and learning rate are those of MaskDistill, the nearest
# published recipe (smooth-L1 on a ViT's tokens); the rest is our choice, see docs/method.md.
_base_ = 'in1k.py'

teacher_weights = 'weights/mae-vit-b16.safetensors'
teacher_sha256 = None  # of that file: training refuses any other
teacher_layer = 12
teacher_target = 'full'  # 'visible' and 'decoder': see docs/teachers.md
teacher_img_size = 224
embed_dims = 768  # of the teacher's tokens
unmasked_share = 0.0  # of the images of every batch, shown whole
last_stage_weight = 0.0  # of a loss on the last stage itself, see LastStageHead
last_stage_regions = 'image'  # or 'cell'

model = dict(
    type='HGKD',
    # out_level 2 is stride 16, that of the teacher's tokens
    neck=dict(type='UNetDecoder', channels=[256, 512], out_level=2),
    head=dict(
        type='TokenDistillationHead',
        in_channels=256,
        embed_dims=embed_dims,
        distance='smooth_l1',
        masked_weight=1.0,
        visible_weight=1.0,
        distribution_weight=0.1,
    ),
    patch_size=_base_.patch_size,
    data_preprocessor=_base_.data_preprocessor,
)
if last_stage_weight:
    model['last_stage_head'] = dict(
        type='LastStageHead', embed_dims=embed_dims, regions=last_stage_regions, weight=last_stage_weight
    )
optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=1.5e-3, betas=(0.9, 0.95), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
    clip_grad=dict(max_norm=3.0),
)
custom_hooks = [
    dict(
        type='TeacherHook',
        teacher=dict(
            type='ViTTeacher',
            weights=teacher_weights,
            sha256=teacher_sha256,
            layer=teacher_layer,
            target=teacher_target,
            img_size=teacher_img_size,
            amp_dtype='float16',
        ),
        cache_dir=_base_.token_cache,
    ),
    dict(type='StudentExportHook', num_batches=100),
]
if unmasked_share:
    custom_hooks.append(dict(type='MaskScheduleHook', unmasked_share=unmasked_share))
