"""Lines of the other students, of made-up records."""

from functools import partial

from hgkd_mm.evidence import claims
from hgkd_mm.evidence.claims import LINEAR, PLAIN, SHARE, STUDENTS, Start
from hgkd_mm.evidence.students import render_students
from hgkd_mm.leaderboard.collect import SCRATCH

Claim = partial(claims.Claim, ours=PLAIN)
CLAIMS = [Claim('classification', 'top1', Start(SCRATCH)), Claim('classification', SHARE, None)]


def network(backbone, params):
    return {'model': dict(name='ImageClassifier', backbone=backbone, params=params)}


def test_each_student_is_compared_with_itself(suites, cells, ours):
    probes = {LINEAR: [30, 30], f'teacher_{LINEAR}': [50, 40]}  # 60 and 75 %
    small, smaller = network('MobileNetV2', 2), network('ConvNeXt', 1)
    suites((ours, [90], {}), (None, [10], {}))  # the study's student is none of them
    found = suites(
        (ours, [50, 52], probes, small),
        (None, [30, 31], {}, small),
        (ours, [40], {}, smaller),
        (None, [37], {}, smaller),
        name=STUDENTS,
    )
    lines = cells(render_students(found, CLAIMS))
    assert [(line['Backbone'], line['Metric'], line['Difference'], line['n']) for line in lines] == [
        ('ConvNeXt', 'top-1 %', '+3.0', '1'),
        ('MobileNetV2', 'top-1 %', '+20.5', '2'),
        ('MobileNetV2', "linear probe, % of the teacher's", '', '2'),
    ]
    one, two, share = lines
    assert (one['Minus'], one['95 % interval'], one['Theirs (epochs)']) == (
        'from scratch, equal fine-tuning', '', '37.0 (10)',
    )  # fmt: skip
    assert two['95 % interval'] == '+14.1 to +26.9'  # 20.5 -+ 12.706 x 0.5
    assert (share['Ours (epochs)'], share['Theirs (epochs)']) == ('67.5 ± 10.6 (20 + 0)', '')
