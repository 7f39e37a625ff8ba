import numpy as np
import pytest
from scipy import stats

from hgkd_mm.errors import RecordError
from hgkd_mm.leaderboard.collect import find_runs, make_tables, paired_p
from hgkd_mm.leaderboard.compare import compare, describe


def _compare(folder, a, b):
    found = find_runs([folder])
    return compare(make_tables(found.runs), a, b), found


def test_paired_p_is_that_of_scipy():
    rng = np.random.default_rng(0)
    for n in (2, 3, 10):
        one, other = rng.normal(1, 1, n), rng.normal(0, 1, n)
        assert paired_p(list(one - other)) == pytest.approx(stats.ttest_rel(one, other).pvalue, rel=1e-9)
    assert paired_p([1.0]) is None
    assert paired_p([1.0, 1.0]) is None


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
