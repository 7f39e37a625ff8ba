from pathlib import Path

import pytest

from hgkd_mm.errors import RecordError
from hgkd_mm.leaderboard.reported import Reported, load_reported, state_of

ROOT = Path(__file__).parents[2]
ENTRY = dict(
    task='classification', dataset='Toy', student='ResNet-18', method='SparK', protocol='as published',
    metrics={'top1': 50.0}, kind='paper', source='https://example.org/paper', place='Table 1',
)  # fmt: skip


def test_every_reported_number_has_a_source_and_every_config_exists():
    entries = load_reported()
    assert len(entries) > 20
    assert all(entry.source.startswith('https://') and entry.place for entry in entries)
    assert all((ROOT / entry.config).is_file() for entry in entries if entry.config)
    assert any(e.method == 'H-GKD' and e.metrics == {'top1': 80.01} for e in entries)


def test_state_says_what_was_measured_under_the_same_protocol(make_record, tables_of):
    entry = Reported(**ENTRY, config='configs/x.py', recipe='AdamW, cosine', pretraining_epochs=20)
    same = make_record(48.0, pretraining=dict(method='SparK', epochs=20.0))
    others = [
        make_record(48.0),
        make_record(48.0, pretraining=dict(method='SparK', epochs=10.0)),
        make_record(pretraining=same.pretraining.model_dump(), dataset=dict(name='Other')),
        make_record(
            pretraining=same.pretraining.model_dump(),
            protocol=dict(epochs=10, batch_size=32, resolution=128, recipe='SGD'),
        ),
    ]
    without, alone, both = (tables_of(*some) for some in (others, [same], [*others, same]))
    assert state_of(entry, without) == ('not run', 'not run here')
    assert state_of(entry, both) == ('reproduced', 'reproduced: 48.0 (-2.0), n = 1')
    assert state_of(Reported(**ENTRY), alone) == ('paper', 'paper only')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('- {task: pose}', 'task'),
        ('[', 'not YAML'),
        (str([{**ENTRY, 'metrics': {'mIoU': 3.0}}]), 'mIoU'),
        (str([{**ENTRY, 'source': 'hearsay'}]), 'source'),
    ],
)
def test_wrong_entry_is_named(text, message, tmp_path):
    path = tmp_path / 'reported.yaml'
    path.write_text(text)
    with pytest.raises(RecordError, match=message) as error:
        load_reported(path)
    assert str(path) in str(error.value)
