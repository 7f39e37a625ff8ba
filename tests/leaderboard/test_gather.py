import pytest

from hgkd_mm.errors import RecordError
from hgkd_mm.leaderboard.gather import gather


def test_records_and_pictures_are_copied_without_weights(write_record, write_pretraining, hgkd, tmp_path):
    run = write_record('runs/a').parent
    (run / 'pictures').mkdir()
    for name in ('epoch_1.pth', 'pictures/masks.png', 'pictures/notes.txt'):
        (run / name).write_bytes(name.encode())
    write_pretraining('runs/pre', hgkd)
    write_record('runs/bad', seed=1).write_text('{')
    written, problems = gather([tmp_path / 'runs'], tmp_path / 'out')
    places = ['a/pictures/masks.png', 'a/result.json', 'pre/pretraining.json']
    assert sorted(path.relative_to(tmp_path / 'out').as_posix() for path in written) == places
    assert sorted(p.relative_to(tmp_path / 'out').as_posix() for p in (tmp_path / 'out').rglob('*.*')) == places
    assert 'bad/result.json' in problems[0]


def test_predictions_go_with_their_record_and_nothing_from_elsewhere_does(write_record, tmp_path):
    kept = write_record('runs/a', predictions=dict(file='predictions.csv', sha256='d' * 64)).parent
    (kept / 'predictions.csv').write_text('said')
    write_record('runs/b', seed=1, predictions=dict(file='../../secret.csv', sha256='d' * 64))
    write_record('runs/c', seed=2, predictions=dict(file='predictions.csv', sha256='d' * 64))  # the file is gone
    (tmp_path / 'secret.csv').write_text('secret')
    gather([tmp_path / 'runs'], tmp_path / 'out')
    copied = {p.relative_to(tmp_path / 'out').as_posix() for p in (tmp_path / 'out').rglob('*.*')}
    assert copied == {'a/result.json', 'a/predictions.csv', 'b/result.json', 'c/result.json'}
    assert (tmp_path / 'out/a/predictions.csv').read_text() == 'said'


def test_two_records_for_one_place_are_an_error(write_record, tmp_path):
    write_record('x/a')
    write_record('y/a', seed=1)
    with pytest.raises(RecordError, match='would both be copied to'):
        gather([tmp_path / 'x', tmp_path / 'y'], tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
