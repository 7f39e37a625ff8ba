"""A run whose numbers went wrong stops with its weights intact, and the replay names the layer."""

import re

import pytest
import torch
from mmengine.hooks import Hook
from mmpretrain.structures import DataSample

from hgkd_mm.engine import train
from hgkd_mm.engine.replay import replay
from hgkd_mm.errors import NumericsError, WeightsError
from hgkd_mm.hooks.guard_hook import spread
from hgkd_mm.registry import HOOKS
from hgkd_mm.torture.subject import make_images, write_config
from hgkd_mm.transfer import load_checkpoint_file
from hgkd_mm.transfer.batch import pack, unpack

NO_TRACKER = 'torch before 2.3 does not say in which layer it computes'


@HOOKS.register_module(force=True)
class Spoil(Hook):
    """Spoils a run at its third iteration."""

    def __init__(self, what):
        self.what = what

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter < 2:
            return
        if self.what == 'weight':
            runner.model.backbone.layer2[0].conv2.weight.data.fill_(3e38)
        elif self.what == 'batch':
            data_batch['inputs'] = data_batch['inputs'].float()
            data_batch['inputs'][1, 0, 3, 3] = float('nan')
        elif self.what == 'student':
            runner.model.neck.register_forward_hook(lambda module, inputs, output: output * 0 + 1, prepend=True)
        elif self.what == 'teacher':
            for sample in data_batch['data_samples']:
                sample.set_field(torch.ones(4, 2, 2), 'teacher_tokens')


@pytest.fixture
def run(tmp_path):
    def start(name, what):
        config = write_config(tmp_path, make_images(tmp_path / 'images'), name)
        text = f"\ncustom_hooks.append(dict(type='hgkd_mm.Spoil', what={what!r}))\n"
        text += "default_hooks['guard'] = dict(type='hgkd_mm.GuardHook', interval=1)\n"
        config.write_text(config.read_text() + text)
        with pytest.raises(NumericsError) as stopped:
            train([str(config), '--work-dir', str(tmp_path / 'run')])
        return config, str(stopped.value), next((tmp_path / 'run').glob('guard_iter_*.pth'))

    return start


@pytest.mark.parametrize('name', ['pretraining', 'fine-tuning'])
def test_the_layer_that_overflowed_is_named(run, name):
    config, message, file = run(name, 'weight')
    assert 'iteration 2: the gradients of' in message and f'tools/replay.py {config} {file}' in message
    # stopped before the step: the weights are still finite
    state = load_checkpoint_file(file)['state_dict']
    assert all(value.isfinite().all() for key, value in state.items() if 'running' not in key)
    pytest.importorskip('torch.utils.module_tracker', reason=NO_TRACKER)
    found = replay(str(config), str(file))
    assert found.first.layer.startswith('backbone.layer2.0') and not found.first.backward
    assert found.gradients and not found.inputs and not found.weights


def test_a_broken_batch_is_named(run):
    config, _, file = run('pretraining', 'batch')
    pytest.importorskip('torch.utils.module_tracker', reason=NO_TRACKER)
    assert replay(str(config), str(file)).inputs == ['inputs 1']


@pytest.mark.parametrize(
    ('what', 'message'), [('student', 'student has collapsed.* 0'), ('teacher', "teacher's targets are the same")]
)
def test_collapse_and_a_silent_teacher_stop_the_run(run, what, message):
    _, found, _ = run('pretraining', what)
    assert re.search(message, found)


def test_other_files_are_refused(tmp_path):
    torch.save({'state_dict': {}, 'meta': {}}, tmp_path / 'epoch_1.pth')
    with pytest.raises(WeightsError, match='no step of a guard'):
        replay('config.py', str(tmp_path / 'epoch_1.pth'))
    with pytest.raises(WeightsError, match="holds a 'os.system'"):
        unpack({'__kind__': 'os.system', 'meta': {}, 'data': {}})


def test_spread_is_zero_for_equal_features_only():
    torch.manual_seed(0)
    assert spread(torch.ones(4, 8, 2, 2)) == 0 == spread(torch.zeros(4, 8))
    assert spread(torch.arange(8.0).expand(4, 8)) == 0  # channels differ, positions do not
    assert spread(torch.randn(64, 8, 4, 4)) == pytest.approx(1, abs=0.05)


def test_a_batch_comes_back_as_it_was():
    sample = DataSample(metainfo=dict(sample_idx=3, shape=(4, 5))).set_gt_label(2)
    batch = {'inputs': torch.rand(2, 3), 'data_samples': [sample], 'pair': (1, 'a')}
    again = unpack(pack(batch))
    assert torch.equal(again['inputs'], batch['inputs']) and again['pair'] == (1, 'a')
    assert again['data_samples'][0].gt_label.tolist() == [2]
    assert again['data_samples'][0].metainfo == {'sample_idx': 3, 'shape': (4, 5)}
