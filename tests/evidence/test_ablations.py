"""Tables over all starts of a suite, of made-up records."""

from hgkd_mm.evidence.ablations import render_ablations


def test_every_start_is_a_line_beside_plain_hgkd(suites, cells, ours):
    few = {'data': 'Toy, 10 % of the labels'}
    (study,) = suites(
        (None, [30, 31], {}),
        (ours, [50, 52], {'linear_top1': [40, 42], 'knn_top1': [20, 21]}),
        (dict(ours, mask_ratio=0.3), [53, 56], {'linear_top1': [44, 45]}),
        (dict(ours, targets_shuffled=True), [29, 29], {}),
        (dict(ours, variant='whole at times'), [50, 53], {}),
        (dict(ours, teacher='random-vit', recipe_sha256='ab' * 32), [60], {}),
        (dict(ours, method='DenseDistillation'), [51, 54], {}),
        (dict(ours, mask_ratio=0.3), [21], {}, few),
    )
    lines = cells(render_ablations(study))
    tuned = 'top-1 %, 10 epochs, 128 px, AdamW, cosine'
    tenth = 'top-1 %, 10 % of the labels, 10 epochs, 128 px, AdamW, cosine'
    assert list(lines[0]) == ['Start', 'Teacher', 'Pretraining', 'Student', 'linear probe %', 'kNN %', tuned, tenth]
    named = [(line['Start'], line['Teacher'], line['Pretraining']) for line in lines]
    assert named == [
        ('H-GKD', 'random-vit layer 9', '20 epochs, 60 % masked [ababab]'),
        ('H-GKD', 'vit-s14 layer 9', '20 epochs, 30 % masked'),
        ('H-GKD', 'vit-s14 layer 9', '20 epochs, 60 % masked'),
        ('H-GKD', 'vit-s14 layer 9, targets shuffled', '20 epochs, 60 % masked'),
        ('H-GKD, whole at times', 'vit-s14 layer 9', '20 epochs, 60 % masked'),
        ('dense distillation', 'vit-s14 layer 9', '20 epochs, 60 % masked'),
        ('from scratch', '', ''),
    ]
    random, fewer, plain, shuffled, whole, dense, scratch = lines
    assert (plain[tuned], plain['linear probe %']) == ('51.0 ± 1.4, n=2', '41.0 ± 1.4, n=2')
    assert plain['kNN %'] == '20.5 ± 0.7, n=2'
    # gains 3 and 4: t = 3.5 / 0.5 = 7 with one degree of freedom, p = 1 - 2 atan(7) / pi
    assert fewer[tuned] == '54.5 ± 2.1, n=2; +3.5 (p=0.09)'
    assert fewer['linear probe %'] == '44.5 ± 0.7, n=2; +3.5 (p=0.09)'
    assert (fewer[tenth], fewer['kNN %'], random[tuned]) == ('21.0, n=1', '', '60.0, n=1; +10.0')
    assert whole[tuned] == '51.5 ± 2.1, n=2; +0.5 (p=0.5)'  # gains 0 and 1: t = 1
    assert shuffled[tuned].startswith('29.0 ± 0.0, n=2; -22.0')
    assert dense[tuned] == '52.5 ± 2.1, n=2; +1.5 (p=0.2)'  # gains 1 and 2: t = 3
    assert (scratch[tuned], scratch['linear probe %']) == ('30.5 ± 0.7, n=2; -20.5 (p=0.016)', '')
