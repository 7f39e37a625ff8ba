"""Collects the neighbours of a kNN evaluation."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..engine.network import network_of
from ..errors import ConfigError
from ..models.knn_head import KNNHead
from ..registry import HOOKS
from .features import extract_features


@HOOKS.register_module()
class KNNBankHook(Hook):
    """Before a test run, give the features of labelled images to the model's :class:`hgkd_mm.models.KNNHead`.

    The processes of a distributed run share the work; each gets the whole bank.

    Args:
        dataloader: Config of the labelled images, unshuffled.

    Raises:
        ConfigError: Before the test: the model's head is another one.
    """

    def __init__(self, dataloader: dict) -> None:
        self.dataloader = dataloader

    def before_test(self, runner: Runner) -> None:
        """Fill the bank."""
        model = network_of(runner)
        if not isinstance(model.head, KNNHead):
            raise ConfigError(f'KNNBankHook: model.head is a {type(model.head).__name__}, expected hgkd_mm.KNNHead')
        loader = runner.build_dataloader(dict(self.dataloader))
        model.eval()
        model.head.remember(*extract_features(model.extract_feat, model.data_preprocessor, loader))
