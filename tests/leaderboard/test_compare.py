import numpy as np
import pytest
from scipy import stats

from hgkd_mm.errors import RecordError
from hgkd_mm.leaderboard.collect import find_runs, make_tables
from hgkd_mm.leaderboard.compare import compare, describe
from hgkd_mm.statistics.bootstrap import cluster_bootstrap
from hgkd_mm.statistics.predictions import Prediction, write_predictions
from hgkd_mm.utils import sha256_file


def _compare(folder, a, b):
    found = find_runs([folder])
    return compare(make_tables(found.runs), a, b), found


def test_words_and_numbers_with_uncertainty(write_record, hgkd, tmp_path):
    differences = [9.0, 10.0, 12.0]
    for seed, difference in enumerate(differences):
        write_record(f'scratch{seed}', 30.0 + seed, seed=seed)
        write_record(f'hgkd{seed}', 30.0 + seed + difference, seed=seed, pretraining=dict(hgkd, seed=seed))
    write_record('det', 12.0, task='detection', pretraining=hgkd)
    write_record('det-scratch', 15.0, task='detection')
    found, runs = _compare(tmp_path, 'h-gkd', 'scratch')
    low, high = stats.t.interval(0.95, 2, np.mean(differences), stats.sem(differences))
    assert found[0].gain.value == pytest.approx(np.mean(differences))
    assert (found[0].low, found[0].high) == pytest.approx((low, high))
    text = describe(found, runs)
    assert text.startswith(
        'A: ResNet-18, H-GKD (vit-s14 layer 9), 20 epochs, 60 % masked\nB: ResNet-18, from scratch\n'
    )
    assert (
        'Classification (Toy): A is better by 10.3 points '
        f'(95 % interval of A - B: {low:+.1f} to {high:+.1f}, 3 pairs), more than chance explains' in text
    )
    assert 'Detection (Toy): B is better by 3.0 points, but from one pair of runs nobody can tell' in text
    assert 'the same network' in text


def test_noise_is_called_noise(write_record, hgkd, tmp_path):
    for seed, difference in enumerate([5.0, -4.0]):
        write_record(f'scratch{seed}', 30.0, seed=seed)
        write_record(f'hgkd{seed}', 30.0 + difference, seed=seed, pretraining=hgkd)
    assert 'which chance may explain' in describe(*_compare(tmp_path, 'h-gkd', 'scratch'))


def test_backbone_is_found_by_its_hash(write_record, hgkd, tmp_path):
    write_record('a')
    write_record('b', pretraining=hgkd)
    found, _ = _compare(tmp_path, 'bbbbbbbb', 'from scratch')
    assert found[0].a.method == 'H-GKD'


@pytest.mark.parametrize(
    ('a', 'b', 'message'),
    [
        ('beit', 'scratch', "no row is called 'beit'; there are: .*from scratch"),
        ('resnet', 'scratch', "'resnet' fits several rows: .*; say more"),
        ('spark', 'scratch', 'never measured on the same data under the same protocol'),
    ],
)
def test_wrong_queries_say_what_there_is(a, b, message, write_record, hgkd, tmp_path):
    write_record('a')
    write_record('b', pretraining=hgkd)
    write_record('c', pretraining=dict(method='SparK'), dataset=dict(name='Other'))
    with pytest.raises(RecordError, match=message):
        _compare(tmp_path, a, b)


@pytest.fixture
def write_predicted(tmp_path, write_record):
    """Factory of records with predictions on 12 images of 4 identities; gives the place of these."""

    def write(name, right, **kwargs):
        path = tmp_path / name / 'predictions.csv'
        said = [Prediction(f'{i:02}.png', f'object {i // 3}', 1, int(i in right)) for i in range(12)]
        write_predictions(path, said)
        file = dict(file=path.name, sha256=sha256_file(path))
        write_record(name, 100 * len(right) / 12, predictions=file, **kwargs)
        return path

    return write


def test_one_pair_of_runs_is_judged_over_identities(write_predicted, hgkd, tmp_path):
    write_predicted('scratch', {0, 3})
    write_predicted('hgkd', {0, 1, 2, 3, 4, 5, 6}, pretraining=hgkd)
    found, runs = _compare(tmp_path, 'h-gkd', 'scratch')
    expected = cluster_bootstrap([0, 100, 100, 0, 100, 100, 100] + [0] * 5, [str(i // 3) for i in range(12)])
    assert found[0].over_identities == expected
    assert found[0].gain.value == pytest.approx(expected.mean)
    assert (
        f'{expected.low:+.1f} to {expected.high:+.1f} (95 % interval of A - B, bootstrap over the 4 identities of '
        '12 images)'
    ) in describe(found, runs)


def test_without_predictions_of_both_nothing_is_said_over_identities(write_predicted, write_record, hgkd, tmp_path):
    write_record('scratch')
    path = write_predicted('hgkd', {0}, pretraining=hgkd)
    found, runs = _compare(tmp_path, 'h-gkd', 'scratch')
    assert found[0].over_identities is None and 'bootstrap' not in describe(found, runs)
    path.unlink()
    assert _compare(tmp_path, 'h-gkd', 'scratch')[0][0].over_identities is None


def test_predictions_of_another_evaluation_are_refused(write_predicted, hgkd, tmp_path):
    write_predicted('scratch', {0, 3})
    path = write_predicted('hgkd', {0}, pretraining=hgkd)
    path.write_text(path.read_text().replace('1,0', '1,1'))
    with pytest.raises(RecordError, match='hgkd/predictions.csv: is not the file that .*result.json was written with'):
        _compare(tmp_path, 'h-gkd', 'scratch')
