"""One entry point trains, resumes and evaluates; whatever is wrong is named."""

from pathlib import Path

import pytest
import torch
from mmpretrain.models import ResNet

from hgkd_mm import engine
from hgkd_mm.errors import ConfigError, DataError, WeightsError
from hgkd_mm.transfer import export_backbone, load_checkpoint_file
from hgkd_mm.utils import cli_errors

CONFIG = 'configs/classification/resnet18_1xb32-coslr_cutoutscenes.py'


@pytest.fixture(autouse=True)
def in_repository(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])


@pytest.fixture
def options(mini_cutoutscenes):
    return [
        '--cfg-options', f'data_root={mini_cutoutscenes}', 'width=8', 'img_size=32', 'batch_size=8',
        'default_hooks.logger.interval=1', 'log_level=WARNING',
    ]  # fmt: skip


def checkpoint_of(work_dir: Path) -> Path:
    return Path((work_dir / 'last_checkpoint').read_text())


def test_resumed_run_continues_at_the_right_iteration(tmp_path, options, capsys):
    # 16 images in batches of 8: two iterations an epoch
    run = [CONFIG, '--work-dir', str(tmp_path)]
    engine.train([*run, *options, 'max_epochs=4', 'train_cfg.max_epochs=1'])
    first = torch.load(checkpoint_of(tmp_path), weights_only=True)  # any version of torch, no object allowed
    assert (first['meta']['epoch'], first['meta']['iter']) == (1, 2)
    weight = first['state_dict']['head.fc.weight']

    engine.train([*run, '--resume', *options, 'max_epochs=4'])
    last = load_checkpoint_file(checkpoint_of(tmp_path))
    assert (last['meta']['epoch'], last['meta']['iter']) == (4, 8)
    assert last['optimizer']['state'][0]['step'] == 8
    # the moments and the schedule went on too: counters of the log cover all eight iterations
    assert len(last['message_hub']['log_scalars']['train/loss']['log_history']) == 8
    assert not torch.equal(weight, last['state_dict']['head.fc.weight'])

    before = checkpoint_of(tmp_path).stat().st_mtime_ns
    engine.train([*run, '--resume', *options, 'max_epochs=4'])
    assert 'already complete' in capsys.readouterr().out
    assert checkpoint_of(tmp_path).stat().st_mtime_ns == before


def test_pretrained_weights_are_what_training_starts_from(tmp_path, options):
    run = [CONFIG, '--work-dir']
    engine.train([*run, str(tmp_path / 'a'), *options, 'max_epochs=1'])
    checkpoint = checkpoint_of(tmp_path / 'a')
    export_backbone(checkpoint, tmp_path / 'backbone.pth')
    frozen = [f'pretrained={tmp_path / "backbone.pth"}', 'lr=1e-30', 'max_epochs=1']
    engine.train([*run, str(tmp_path / 'b'), *options, *frozen])
    exported = load_checkpoint_file(tmp_path / 'backbone.pth')['state_dict']
    trained = load_checkpoint_file(checkpoint_of(tmp_path / 'b'))['state_dict']
    for key, value in exported.items():
        if key.endswith(('weight', 'bias')):  # this learning rate moves none of them
            assert torch.equal(trained[f'backbone.{key}'], value), key


def test_pretrained_weights_of_another_width_are_refused(tmp_path, options):
    torch.save(ResNet(18, base_channels=16, stem_channels=16).state_dict(), tmp_path / 'wide.pth')
    with pytest.raises(WeightsError, match='wide.pth does not fit ResNet'):
        engine.train([CONFIG, '--work-dir', str(tmp_path), *options, f'pretrained={tmp_path / "wide.pth"}'])


def test_evaluation_gives_the_metrics_of_the_training(tmp_path, options):
    options = [*options, 'max_epochs=1']
    engine.train([CONFIG, '--work-dir', str(tmp_path / 'train'), *options])
    checkpoint = str(checkpoint_of(tmp_path / 'train'))
    metrics = engine.test([CONFIG, checkpoint, '--work-dir', str(tmp_path / 'test'), *options])
    assert set(metrics) == {'accuracy/top1'}
    assert 0 <= metrics['accuracy/top1'] <= 100
    assert (tmp_path / 'test' / 'result.json').is_file()

    with pytest.raises(WeightsError, match=r'does not fit ImageClassifier.*missing'):
        engine.test([CONFIG, checkpoint, *options, 'model.backbone.depth=34'])


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        (['configs/none.py'], ConfigError, 'configs/none.py does not exist'),
        ([CONFIG, '--cfg-options', 'learning_rate=1'], ConfigError, "has no 'learning_rate'"),
        ([CONFIG, '--cfg-options', 'data_root=no/cutoutscenes'], DataError, 'data_root: no/cutout'),
        (
            [CONFIG, '--resume', 'no/epoch_3.pth'],
            WeightsError,
            'checkpoint no/epoch_3.pth does not',
        ),
    ],
)
def test_wrong_input_is_named(tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        engine.train([*arguments, '--work-dir', str(tmp_path)])


def test_missing_pretrained_file_is_named(tmp_path, options):
    with pytest.raises(WeightsError, match='pretrained=no/backbone.pth: no such file'):
        engine.train([CONFIG, '--work-dir', str(tmp_path), *options, 'pretrained=no/backbone.pth'])


def test_missing_checkpoint_is_named_by_test(tmp_path, options):
    with pytest.raises(WeightsError, match='checkpoint no/epoch_3.pth does not exist'):
        engine.test([CONFIG, 'no/epoch_3.pth', '--work-dir', str(tmp_path), *options])


def test_wrong_argument_of_a_class_is_named(tmp_path, options):
    with pytest.raises(ConfigError, match="unexpected keyword argument 'depht'"):
        engine.train([CONFIG, '--work-dir', str(tmp_path), *options, 'model.backbone.depht=18'])


def test_resuming_from_plain_weights_is_refused(tmp_path, options):
    torch.save({'state_dict': {'w': torch.ones(1)}}, tmp_path / 'w.pth')
    with pytest.raises(WeightsError, match='holds weights only'):
        engine.train([CONFIG, '--resume', str(tmp_path / 'w.pth'), *options])


def test_errors_are_one_line_on_the_command_line(monkeypatch, capsys):
    monkeypatch.setattr('sys.argv', ['train.py', 'configs/none.py'])
    with pytest.raises(SystemExit) as exit_:
        cli_errors(engine.train)()
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith('error: config configs/none.py') and error.count('\n') == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
def test_a_loss_scaler_goes_on_where_it_was(tmp_path, options):
    options = [*options, 'max_epochs=3', 'default_hooks.checkpoint.max_keep_ckpts=3']
    engine.train([CONFIG, '--work-dir', str(tmp_path / 'whole'), '--amp', *options])
    first = str(tmp_path / 'whole' / 'epoch_1.pth')
    engine.train([CONFIG, '--work-dir', str(tmp_path / 'resumed'), '--amp', '--resume', first, *options])
    whole, resumed = (load_checkpoint_file(tmp_path / name / 'epoch_3.pth') for name in ('whole', 'resumed'))
    assert whole['optimizer']['loss_scaler']['_growth_tracker'] == 6
    assert resumed['optimizer']['loss_scaler'] == whole['optimizer']['loss_scaler']
    for name, value in whole['state_dict'].items():  # a GPU's sums are not the same to the bit
        torch.testing.assert_close(resumed['state_dict'][name], value, rtol=1e-2, atol=1e-3)
