import pytest
from mmpretrain.models import build_backbone

from hgkd_mm.errors import ConfigError, RecordError, WeightsError
from hgkd_mm.latency.measure import find_source, measure_latency
from hgkd_mm.latency.record import load_latency
from hgkd_mm.transfer import formats, save_backbone


def backbone(folder, width=8):
    config = dict(type='ResNet', depth=18, base_channels=width, stem_channels=width, out_indices=(0, 1, 2, 3))
    network = build_backbone(dict(config))
    folder.mkdir(exist_ok=True)
    save_backbone(folder / 'backbone.pth', network.state_dict(), {'method': 'HGKD', 'backbone': config})
    return folder / 'backbone.pth', sum(p.numel() for p in network.parameters())


def test_devices_are_collected_in_one_record(tmp_path):
    path, params = backbone(tmp_path)
    source = find_source(path, 64)
    measure_latency(source, threads=[1, 2], runs=5)
    measure_latency(source, runs=5, device='an edge device')
    latency = load_latency(tmp_path / 'latency.json')
    assert latency.key == ('ResNet-18 (width 8)', params, 64)
    assert latency.max_difference < formats.TOLERANCE
    assert [t.threads for t in latency.timings] == [1, 2, 1] and latency.timings[2].device == 'an edge device'
    assert all(0 < t.median_ms <= t.p90_ms for t in latency.timings)


def test_a_network_that_computes_something_else_is_not_timed(tmp_path, monkeypatch):
    path, _ = backbone(tmp_path)
    monkeypatch.setattr(formats, 'TOLERANCE', 0.0)
    with pytest.raises(WeightsError, match='does not compute'):
        measure_latency(find_source(path, 64), runs=1)
    assert not (tmp_path / 'latency.json').exists()


def test_the_record_of_another_network_is_not_overwritten(tmp_path):
    small, large = backbone(tmp_path / 'small')[0], backbone(tmp_path / 'large', 16)[0]
    measure_latency(find_source(small, 64, tmp_path / 'latency.json'), runs=1)
    with pytest.raises(ConfigError, match='name another file'):
        measure_latency(find_source(large, 64, tmp_path / 'latency.json'), runs=1)


def test_what_is_missing_is_said(tmp_path):
    path, _ = backbone(tmp_path)
    with pytest.raises(ConfigError, match='--resolution'):
        find_source(path)
    with pytest.raises(RecordError, match='result.json'):
        find_source(tmp_path)
    with pytest.raises(WeightsError, match='does not exist'):
        find_source(tmp_path / 'nothing', 64)
    with pytest.raises(ConfigError, match='at least 1'):
        measure_latency(find_source(path, 64), threads=[0])
