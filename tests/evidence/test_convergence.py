"""Parts of trainings, of made-up records."""

import pytest

from hgkd_mm.evidence.claims import LINEAR
from hgkd_mm.evidence.convergence import pretrained, render_convergence, render_pretraining


def test_convergence_is_the_last_validation_until_then(suites, cells, ours):
    def protocol(epochs):
        return {'protocol': dict(epochs=epochs, batch_size=32, resolution=128, recipe='AdamW')}

    (study,) = suites(
        (ours, [(10, 20, 30, 40), (12, 22, 36, 38)], {}, protocol(4)),
        (None, [(10, 15, 20)], {}, protocol(3)),
        (dict(ours, variant='short'), [(10,)], {}, protocol(1)),
    )
    lines = {line['Start']: list(line.values())[2:] for line in cells(render_convergence(study))}
    assert lines['ResNet-18, H-GKD (vit-s14 layer 9), 20 epochs, 60 % masked'] == ['21.0', '33.0', '39.0', '2']
    assert lines['ResNet-18, from scratch'] == ['10.0', '15.0', '20.0', '1']
    assert [values for start, values in lines.items() if 'short' in start] == [['', '', '10.0', '1']]


def test_starts_of_one_name_have_the_hash_of_their_recipe(suites, cells, ours):
    recipes = [dict(ours, recipe_sha256=letter * 64) for letter in 'ab']
    (study,) = suites(*((recipe, [20], {LINEAR: [30]}) for recipe in recipes), (None, [10], {}))
    name = 'ResNet-18, H-GKD (vit-s14 layer 9), 20 epochs, 60 % masked'
    both = {f'{name} [aaaaaa]', f'{name} [bbbbbb]'}
    assert {line['Start'] for line in cells(render_convergence(study))} == both | {'ResNet-18, from scratch'}
    assert {line['Start'] for line in cells(render_pretraining(study))} == both


@pytest.fixture
def curves(tmp_path, suites, write_pretraining_to, ours):
    """A suite of two folds of H-GKD, whose loss has other numbers in each, scratch, and a start without records."""
    suites((ours, [50, 52], {}), (None, [30, 31], {}), (dict(method='SparK', epochs=4), [20], {}))
    for number, start in enumerate((4.0, 2.0)):
        curves = {
            'loss': [(2.0, start), (10.0, start / 2), (14.0, start / 4), (20.0, start / 8)],
            'explained_variance_visible': [(9.0, 0.5), (20.0, 0.75)],
            'linear_top1': [(10.0, 30.0 + number), (20.0, 40.0 + number)],
            'knn_top1': [(20.0, 20.0)],
        }
        facts = {**ours, 'backbone_sha256': f'{number:064x}'}
        write_pretraining_to(tmp_path / 'study' / f'pretraining{number}', facts, **curves)
    (tmp_path / 'study' / 'run4' / 'pretraining.json').unlink()  # SparK's
    (study,) = suites()
    return study


def test_pretraining_is_the_mean_of_the_last_points_until_then(curves, cells):
    lines = cells(render_pretraining(curves))
    assert [line['Pretraining'] for line in lines] == [
        'loss',
        'explained variance, visible positions',
        'linear probe %',
    ]
    assert {line['Start'] for line in lines} == {'ResNet-18, H-GKD (vit-s14 layer 9), 20 epochs, 60 % masked'}
    assert [list(line.values())[2:] for line in lines] == [
        ['1.500', '0.750', '0.375', '2'],
        ['0.500', '0.500', '0.750', '2'],
        ['30.5', '30.5', '40.5', '2'],
    ]  # the nearest neighbours' accuracy is of the end alone


def test_starts_without_records_of_pretraining_are_left_out(curves):
    assert [(row.method, len(records)) for row, records in pretrained(curves)] == [('H-GKD', 2)]
