"""Evaluation of any config of the three frameworks: the logic of ``tools/test.py``."""

import argparse
from collections.abc import Sequence

from ..errors import ConfigError
from ..transfer import apply_pretrained, load_checkpoint_file, load_strictly, state_dict_of
from .common import add_common_options, build_errors, build_runner, prepare
from .config import check_data, load_config
from .network import network_of


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line of ``tools/test.py``."""
    parser = argparse.ArgumentParser(description='Evaluate a checkpoint on the test data of its config.')
    add_common_options(parser)
    parser.add_argument(
        'checkpoint',
        help='checkpoint of a training run with this config; of a config without training (kNN) a backbone.pth',
    )
    return parser.parse_args(argv)


def test(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Evaluate as the command line says. The checkpoint must fit the model, or its backbone, exactly.

    Args:
        argv: Arguments; None takes the process's.

    Returns:
        Metrics by name.

    Raises:
        HGKDError: A file, key or option is wrong; the message names it.
    """
    args = parse_args(argv)
    cfg = load_config(args.config, args.cfg_options)
    if not cfg.get('test_dataloader'):
        raise ConfigError(f'config {args.config} has no test_dataloader: there is nothing to evaluate on')
    prepare(cfg, args)
    check_data(cfg, ['test_dataloader'])
    if cfg.get('train_cfg') is None:  # nothing is trained: the backbone is what is evaluated
        cfg.pretrained = args.checkpoint
        apply_pretrained(cfg)
        runner = build_runner(cfg, args.config)
        runner._init_model_weights()  # mmengine does that before training only
    else:
        weights = state_dict_of(load_checkpoint_file(args.checkpoint), args.checkpoint)
        cfg.load_from, cfg.resume = args.checkpoint, False
        runner = build_runner(cfg, args.config)
        model = network_of(runner)
        load_strictly(model, weights, args.checkpoint)
        runner._has_loaded = True  # mmengine would load once more, and accept a partial fit
    with build_errors(args.config):
        return runner.test()
