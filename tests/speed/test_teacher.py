"""Measurement of teachers: every way is timed, and the small ones are small."""

from hgkd_mm.speed import teacher
from hgkd_mm.speed.encoder import Setting


def test_every_way_to_tokens_is_timed(monkeypatch):
    arch = dict(embed_dims=128, num_layers=2, num_heads=2, feedforward_channels=256)
    backbone = dict(type='VisionTransformer', arch=arch, img_size=224)
    monkeypatch.setattr(teacher, '_TEACHER', dict(type='ViTTeacher', backbone=backbone, layer=2))
    rows = teacher.measure_teacher(Setting(batch_size=2, img_size=64, visible=1, threads=1), rounds=1)
    assert [row['source'] for row in rows] == ["target='full'", "target='visible'", 'cache']
    assert rows[0]['relative'] == 1
    assert all(row['batch_ms'] > 0 for row in rows)
