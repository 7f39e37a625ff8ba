"""The best checkpoint so far is there at every moment, also on a full disk."""

import errno
from pathlib import Path

import pytest
from mmengine.logging import MessageHub, MMLogger

from hgkd_mm.hooks import SafeCheckpointHook


class Run:
    """Stands for a runner: its checkpoints hold the best files that the message hub names, one a line.

    Args:
        work_dir: Its folder.
        indicators: Metrics whose best checkpoints are kept.
    """

    def __init__(self, work_dir, *indicators):
        self.work_dir, self.epoch, self.iter = str(work_dir), 0, 0
        self.logger, self.message_hub = MMLogger.get_current_instance(), MessageHub('run')
        self.full: list[str] = []
        self.there: list[set[str]] = []
        self.hook = SafeCheckpointHook(
            interval=1, max_keep_ckpts=1, save_best=list(indicators), rule=['greater'] * len(indicators)
        )
        self.hook.before_train(self)

    def save_checkpoint(self, out_dir, filename, *args, **kwargs):
        self.there.append({path.name for path in Path(out_dir).glob('best_*')})
        if any(filename.startswith(start) for start in self.full):
            raise OSError(errno.ENOSPC, 'No space left on device')
        best = [v for k, v in self.message_hub.runtime_info.items() if k.startswith('best_ckpt')]
        Path(out_dir, filename).write_text('\n'.join(best))

    def validate(self, **metrics):
        """Train an epoch, save it, validate; return the best files that are there."""
        self.hook._save(self, self.epoch + 1, {}, 'epoch_{}.pth', 'keep_ckpt_ids', 1)
        self.epoch, self.iter = self.epoch + 1, self.iter + 2
        return self.evaluate(**metrics)

    def evaluate(self, **metrics):
        try:
            self.hook.after_val_epoch(self, metrics)
        except OSError:
            assert self.full
        return sorted(path.name for path in Path(self.work_dir).glob('best_*'))

    @property
    def named(self):
        """Best files that the newest checkpoint names."""
        (last,) = Path(self.work_dir).glob('epoch_*.pth')
        return [Path(line).name for line in last.read_text().splitlines()]


def test_the_new_one_is_written_before_the_old_one_goes(tmp_path):
    run = Run(tmp_path, 'top1')
    assert run.validate(top1=1.0) == ['best_top1_epoch_1.pth'] == run.named
    run.there.clear()
    assert run.validate(top1=2.0) == ['best_top1_epoch_2.pth'] == run.named
    # of the epoch, of the best, of the epoch again, which now names the best
    old, new = 'best_top1_epoch_1.pth', 'best_top1_epoch_2.pth'
    assert run.there == [{old}, {old}, {old, new}]
    assert run.validate(top1=1.5) == [new] == run.named


def test_a_disk_too_full_for_the_new_one_keeps_the_old_one_and_its_score(tmp_path):
    run = Run(tmp_path, 'top1')
    run.validate(top1=1.0)
    run.full = ['best']
    assert run.validate(top1=3.0) == ['best_top1_epoch_1.pth'] == run.named
    assert run.message_hub.get_info('best_score') == 1.0
    run.full = []
    # better than the best that is there, if not than the one that was lost
    assert run.validate(top1=2.0) == ['best_top1_epoch_3.pth'] == run.named
    assert run.message_hub.get_info('best_score') == 2.0


def test_the_old_one_stays_while_the_newest_checkpoint_names_it(tmp_path):
    run = Run(tmp_path, 'top1')
    run.validate(top1=1.0)
    run.hook._save(run, 2, {}, 'epoch_{}.pth', 'keep_ckpt_ids', 1)
    run.epoch, run.full = 2, ['epoch']
    assert run.evaluate(top1=2.0) == ['best_top1_epoch_1.pth', 'best_top1_epoch_2.pth']
    assert run.named == ['best_top1_epoch_1.pth']
    run.full = []
    assert run.validate(top1=0.5) == ['best_top1_epoch_2.pth'] == run.named


def test_a_killed_process_that_had_not_come_to_removing_it_is_made_up_for(tmp_path, monkeypatch):
    run = Run(tmp_path, 'top1')
    run.validate(top1=1.0)
    with monkeypatch.context() as context:
        context.setattr(run.hook, '_remove', lambda name: None)
        run.validate(top1=2.0)
    assert len(list(tmp_path.glob('best_*'))) == 2
    run.hook.before_train(run)
    assert [path.name for path in tmp_path.glob('best_*')] == ['best_top1_epoch_2.pth']


def test_of_several_metrics_each_keeps_its_own(tmp_path):
    run = Run(tmp_path, 'a', 'b')
    assert run.validate(a=1.0, b=1.0) == ['best_a_epoch_1.pth', 'best_b_epoch_1.pth']
    run.full = ['best_b']
    assert run.validate(a=2.0, b=2.0) == ['best_a_epoch_1.pth', 'best_a_epoch_2.pth', 'best_b_epoch_1.pth']
    infos = run.message_hub.runtime_info
    assert (infos['best_score_a'], infos['best_score_b']) == (2.0, 1.0)
    run.full = []
    assert run.validate(a=0.0, b=1.5) == ['best_a_epoch_2.pth', 'best_b_epoch_3.pth']
    assert sorted(run.named) == ['best_a_epoch_2.pth', 'best_b_epoch_3.pth']


@pytest.mark.parametrize('there', [True, False])
def test_without_any_checkpoint_yet_the_old_best_goes_at_once(tmp_path, there):
    run = Run(tmp_path, 'top1')
    run.epoch = 1
    assert run.evaluate(top1=1.0) == ['best_top1_epoch_1.pth']
    if not there:
        (tmp_path / 'best_top1_epoch_1.pth').unlink()
    run.epoch = 2
    assert run.evaluate(top1=2.0) == ['best_top1_epoch_2.pth']
