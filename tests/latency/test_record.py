import json
from datetime import datetime, timezone

import pytest

from hgkd_mm.errors import RecordError
from hgkd_mm.latency.record import Latency, Timing, load_latency, save_latency


def timing(device='Raspberry Pi 5', threads=1, median=12.5):
    return Timing(
        device=device,
        threads=threads,
        runtime='ONNX Runtime 1.23.2',
        provider='CPUExecutionProvider',
        median_ms=median,
        p90_ms=median + 1,
        runs=100,
        created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
    )


def latency(*timings):
    return Latency(
        backbone='ResNet-18 (width 32)',
        backbone_params=2_797_536,
        resolution=128,
        weights_sha256='a' * 64,
        onnx_mib=10.7,
        max_difference=1e-6,
        timings=list(timings) or [timing()],
    )


def test_what_is_written_is_read_back(tmp_path):
    one = latency(timing(), timing('Jetson', 4))
    save_latency(one, tmp_path / 'latency.json')
    assert load_latency(tmp_path / 'latency.json') == one
    assert one.key == ('ResNet-18 (width 32)', 2_797_536, 128)


def test_a_second_measurement_of_a_device_replaces_the_first_and_keeps_the_others():
    both = latency(timing(), timing(threads=4)).with_timings([timing(median=10.0), timing('Jetson')])
    assert [(t.device, t.threads, t.median_ms) for t in both.timings] == [
        ('Raspberry Pi 5', 4, 12.5),
        ('Raspberry Pi 5', 1, 10.0),
        ('Jetson', 1, 12.5),
    ]


@pytest.mark.parametrize(
    ('edit', 'message'),
    [
        (lambda c: c['timings'][0].update(median_ms=1.0), 'edited'),
        (lambda c: c.update(schema_version=2), 'schema_version is 2'),
        (lambda c: c.update(resolution=-1), 'resolution'),
        (lambda c: c.update(timings=[]), 'timings'),
    ],
)
def test_a_record_that_was_edited_or_is_wrong_is_refused_by_name(tmp_path, edit, message):
    path = tmp_path / 'latency.json'
    save_latency(latency(), path)
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    with pytest.raises(RecordError, match=message) as error:
        load_latency(path)
    assert str(path) in str(error.value)
