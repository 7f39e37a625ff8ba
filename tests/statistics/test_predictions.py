import pytest
from hypothesis import given
from hypothesis import strategies as st

from hgkd_mm.errors import RecordError
from hgkd_mm.statistics.bootstrap import cluster_bootstrap
from hgkd_mm.statistics.predictions import Prediction, difference_over_identities, read_predictions, write_predictions

NAMES = st.text(st.characters(codec='utf-8', exclude_characters='\r\0'), max_size=12)


def said(*correct, identities='aabbcc', fold=''):
    """Predictions on images 0, 1, ..., right or wrong."""
    return [
        Prediction(f'{i}.png', fold + who, 3, 3 if right else 1)
        for i, (right, who) in enumerate(zip(correct, identities, strict=False))
    ]


@given(st.lists(st.builds(Prediction, NAMES, NAMES, st.integers(0, 10**6), st.integers(0, 10**6)),
                min_size=1, unique_by=lambda one: one.image))  # fmt: skip
def test_what_is_written_is_read(tmp_path_factory, predictions):
    path = tmp_path_factory.mktemp('said') / 'predictions.csv'
    write_predictions(path, predictions)
    assert read_predictions(path) == sorted(predictions)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'expected the columns image,identity,label,predicted'),
        ('image,label\n', 'expected the columns'),
        ('image,identity,label,predicted\n', 'has no image'),
        ('image,identity,label,predicted\na,b,1\n', 'line 2 is .*expected two names and two class numbers'),
        ('image,identity,label,predicted\na,b,1,1\nc,b,1,-1\n', 'line 3 is'),
        ('image,identity,label,predicted\na,b,1,1.5\n', 'line 2 is'),
        ('image,identity,label,predicted\na,b,1,1\na,b,1,2\n', 'line 3 has a, which is there already'),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text, message, tmp_path):
    path = tmp_path / 'predictions.csv'
    path.write_text(text)
    with pytest.raises(RecordError, match=f'{path}.*{message}'):
        read_predictions(path)


def test_missing_and_binary_files_are_refused(tmp_path):
    with pytest.raises(RecordError, match='cannot be read'):
        read_predictions(tmp_path / 'none.csv')
    (tmp_path / 'bad.csv').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(RecordError, match='damaged: not CSV'):
        read_predictions(tmp_path / 'bad.csv')


def test_difference_is_that_of_the_accuracies_bounded_over_identities():
    ours, theirs = said(1, 1, 1, 0, 1, 1), said(1, 0, 0, 0, 1, 0)
    found = difference_over_identities([(ours, theirs[::-1])])
    assert found.mean == pytest.approx(100 * (5 / 6 - 2 / 6))
    assert found == cluster_bootstrap([0, 100, 100, 0, 0, 100], list('aabbcc'))
    assert (found.clusters, found.examples) == (3, 6)


def test_seeds_of_a_fold_are_averaged_and_folds_are_joined():
    first = (said(1, 1, 1, 1), said(0, 0, 0, 0))
    second = (said(1, 1, 0, 0), said(1, 1, 0, 0))
    other_fold = (said(1, 0, fold='z'), said(0, 0, fold='z'))
    found = difference_over_identities([first, second, other_fold])
    assert (found.clusters, found.examples) == (3, 6)
    assert found.mean == pytest.approx((50 * 4 + 100 + 0) / 6)


def test_exchanging_the_two_changes_the_sign():
    ours, theirs = said(1, 1, 1, 0, 1, 1), said(1, 0, 0, 0, 1, 0)
    one, other = difference_over_identities([(ours, theirs)]), difference_over_identities([(theirs, ours)])
    assert (other.mean, other.low, other.high) == pytest.approx((-one.mean, -one.high, -one.low))


def test_other_images_and_a_single_identity_are_refused():
    with pytest.raises(RecordError, match='pair 0 of predictions is not of the same images'):
        difference_over_identities([(said(1, 1, 1), said(1, 1))])
    with pytest.raises(RecordError, match='1 cluster'):
        difference_over_identities([(said(1, 0), said(0, 0))])
