"""Registries of the project: children of mmengine's, scope ``hgkd_mm``.

A config names a class of ours as ``hgkd_mm.ClassName`` from any default scope.
"""

from mmengine import registry as root

MODELS = root.Registry('model', parent=root.MODELS, scope='hgkd_mm', locations=['hgkd_mm.models'])
HOOKS = root.Registry('hook', parent=root.HOOKS, scope='hgkd_mm', locations=['hgkd_mm.hooks'])
TRANSFORMS = root.Registry('transform', parent=root.TRANSFORMS, scope='hgkd_mm', locations=['hgkd_mm.datasets'])
WEIGHT_INITIALIZERS = root.Registry(
    'weight initializer',
    parent=root.WEIGHT_INITIALIZERS,
    scope='hgkd_mm',
    locations=['hgkd_mm.transfer'],
)
