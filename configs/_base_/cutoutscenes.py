# Facts about the CutoutScenes data set which the downstream configs share.

custom_imports = dict(imports=['hgkd_mm', 'mmpretrain.models'], allow_failed_imports=False)

# In the order of the labels: class i here is category id and label-map value i + 1.
classes = (
    'bird', 'coin', 'fish', 'flower', 'fruit', 'household', 'mammal', 'small_creature', 'tool',
    'vegetable', 'vehicle',
)  # fmt: skip
