"""The page in a real browser, from disk, with every request forbidden."""

import shutil
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hgkd_mm.latency.record import Latency, Timing, save_latency
from hgkd_mm.leaderboard.browser import CHROMIUM, open_browser
from hgkd_mm.leaderboard.build import build
from hgkd_mm.leaderboard.record import save_record

EVIL = '<script>window.hacked = true</script><img src=x onerror="window.hacked = true">'
STUDENTS = {'ResNet-18': 11.0, 'MobileNetV2': 2.2, 'ResNet-50': 23.5}
MILLISECONDS = {'ResNet-18': 20.0, 'MobileNetV2': 8.0, 'ResNet-50': 50.0}
VALUES = {
    'from scratch': {'ResNet-18': 30.0, 'MobileNetV2': 28.0, 'ResNet-50': 29.0},
    'H-GKD': {'ResNet-18': 45.0, 'MobileNetV2': 41.0, 'ResNet-50': 43.0},
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason='no chromium: apt-get install chromium'),
]


@pytest.fixture(scope='module')
def page_file(tmp_path_factory, record_factory, hgkd_facts, write_pretraining_to):
    root = tmp_path_factory.mktemp('page')
    runs = root / 'runs'

    def add(name, *args, **kwargs):
        save_record(record_factory(*args, **kwargs), runs / name / 'result.json')

    for method, values in VALUES.items():
        for student, value in values.items():
            million = STUDENTS[student]
            model = dict(
                name='classifier', backbone=student, params=int(million * 1e6) + 9, backbone_params=int(million * 1e6)
            )
            for seed in (0, 1):
                pretraining = dict(hgkd_facts, seed=seed) if method == 'H-GKD' else None
                add(
                    f'{method}-{student}-{seed}',
                    value + seed,
                    model=model,
                    seed=seed,
                    pretraining=pretraining,
                    curve=[10, 20, value],
                )
    add('detection', 12.0, task='detection')
    add('evil', 5.0, task='segmentation', dataset=dict(name=EVIL), pretraining=dict(method=EVIL), curve=[1, 2])
    (runs / 'damaged').mkdir()
    (runs / 'damaged' / 'result.json').write_text('{')
    write_pretraining_to(
        runs / 'pretrained', hgkd_facts, loss=[(1.0, 2.0), (2.0, 1.0)], knn_top1=[(1.0, 20.0), (2.0, 30.0)]
    )
    pictures = runs / 'pretrained' / 'pictures'
    pictures.mkdir()
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(pictures / '1-token-maps.png')
    for student, ms in MILLISECONDS.items():
        timings = [
            Timing(
                device=device, threads=1, runtime='ONNX Runtime', provider='CPUExecutionProvider', runs=10,
                median_ms=ms * factor, p90_ms=ms * factor, created=datetime(2026, 1, 1, tzinfo=timezone.utc),
            )
            for device, factor in (('laptop', 1), ('phone', 3))
        ]  # fmt: skip
        latency = Latency(
            backbone=student, backbone_params=int(STUDENTS[student] * 1e6), resolution=128, weights_sha256='a' * 64,
            onnx_mib=1.0, max_difference=0.0, timings=timings,
        )  # fmt: skip
        save_latency(latency, runs / student / 'latency.json')
    build([runs], root / 'out')
    return root / 'out' / 'index.html'


@pytest.fixture(scope='module')
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture
def open_page(browser, page_file):
    """Open the page; afterwards nothing may have been complained about or requested."""
    complaints, requests, contexts = [], [], []

    def open_(**options):
        context = browser.new_context(**{'viewport': {'width': 1280, 'height': 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on(
            'console', lambda message: complaints.append(message.text) if message.type in ('error', 'warning') else None
        )
        page.on('pageerror', lambda error: complaints.append(str(error)))
        page.on('dialog', lambda dialog: complaints.append(dialog.message))

        def route(route):
            requests.append(route.request.url)
            route.abort()

        page.route(lambda url: not url.startswith(('file:', 'data:', 'blob:')), route)
        page.goto(page_file.as_uri())
        page.wait_for_selector('html[data-ready=true]')
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []
    assert requests == []


def _wait(page, condition):
    """Wait until a JavaScript condition holds; Playwright's own way needs eval, which the page's policy forbids."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f'not within 10 s: {condition}')


def _column(page, number):
    return [
        cell.strip().splitlines()[0]
        for cell in page.locator(f'#table tbody tr.item td:nth-child({number})').all_inner_texts()
    ]


def _numbers(page, number, expected):
    """Wait for a column's numbers: sorting comes a moment after the click."""
    for _ in range(100):
        found = [float(text.split(' ')[0]) for text in _column(page, number)][: len(expected)]
        if found == expected:
            return
        page.wait_for_timeout(50)
    assert found == expected


def _header(page, name):
    return page.locator('#table thead th').filter(has_text=name)


def test_rows_are_sorted_by_a_click_and_comparisons_never_mix(open_page):
    page = open_page()
    ranked = [45.5, 43.5, 41.5, 30.5, 29.5, 28.5, 12.0, 5.0]
    _numbers(page, 5, ranked)
    _header(page, 'Params').click()
    _numbers(page, 8, [2.2, 2.2, 11.0, 11.0, 23.5, 23.5])
    _header(page, 'Params').click()
    _numbers(page, 8, [23.5, 23.5, 11.0, 11.0, 2.2, 2.2])
    _header(page, 'Result').click()  # ascending: the 5.0 of segmentation stays in its comparison, the last
    _numbers(page, 5, [*sorted(ranked[:6]), 12.0, 5.0])
    groups = page.locator('#table tr.dtrg-group').all_inner_texts()
    assert [group.partition(':')[0] for group in groups] == ['Classification', 'Detection', 'Segmentation']


def test_filters_work_alone_and_together(open_page):
    page = open_page()
    page.select_option('#f-task', 'classification')
    assert len(_column(page, 3)) == 6
    page.select_option('#f-student', 'ResNet-50')
    assert _column(page, 3) == ['ResNet-50'] * 2
    page.select_option('#f-method', 'H-GKD')
    assert _column(page, 4) == ['H-GKD']
    page.click('#f-reset')
    _wait(page, "document.querySelectorAll('#table tr.item').length == 8")
    page.select_option('#f-protocol', index=1)
    assert len(_column(page, 3)) == 8  # one protocol for all
    page.fill('#f-search', 'vit-s14 mobilenet')
    _wait(page, "document.querySelectorAll('#table tr.item').length == 1")
    page.fill('#f-search', 'nothing like it')
    page.wait_for_selector('text=No row fits the filters.')


def test_a_row_opens_provenance_curves_and_pictures(open_page, hgkd_facts):
    page = open_page()
    page.locator('#table tr.item').first.click()
    details = page.locator('.details')
    text = details.inner_text()
    for fact in (
        hgkd_facts['teacher_sha256'],
        hgkd_facts['backbone_sha256'],
        'vit-s14 layer 9',
        '20 epochs, 60 % masked',
    ):
        assert fact in text
    assert 'median 60.00 ms, p90 60.00 ms' in text  # the other device
    _wait(page, "document.querySelectorAll('.curve .main-svg').length > 0")
    assert details.locator('figure h3').all_inner_texts() == [
        'Validation', 'Pretraining loss', 'Frozen backbone during pretraining',
    ]  # fmt: skip
    lines = page.evaluate("[...document.querySelectorAll('.curve')].map(e => e.data.map(t => [t.name, t.x, t.y]))")
    assert lines[0][0][1:] == [[1, 2, 3], [10, 20, 45]]
    assert lines[2] == [['kNN', [1, 2], [20, 30]]]
    assert details.locator('img').evaluate('i => [i.naturalWidth, i.naturalHeight, i.alt]') == [30, 20, 'Token maps']
    assert len(details.locator('tbody tr').all()) == 2  # a line a run
    page.locator('#table tr.item').first.click()
    assert page.locator('.details').count() == 0


def test_everything_works_by_keyboard(open_page):
    page = open_page()
    page.locator('#f-reset').focus()
    for _ in range(12):  # the headers, then the first row's button
        page.keyboard.press('Tab')
        if page.evaluate("document.activeElement.className == 'open'"):
            break
    button = page.locator('button.open').first
    assert button.evaluate('b => b === document.activeElement')
    page.keyboard.press('Enter')
    assert button.get_attribute('aria-expanded') == 'true'
    assert page.locator('.details').count() == 1
    page.keyboard.press('Space')
    assert (button.get_attribute('aria-expanded'), page.locator('.details').count()) == ('false', 0)
    page.keyboard.press('Shift+Tab')
    page.keyboard.press('Shift+Tab')
    page.keyboard.press('Shift+Tab')  # Params, behind it latency and runs
    page.keyboard.press('Enter')
    _numbers(page, 8, [2.2, 2.2, 11.0, 11.0, 23.5, 23.5])


def _front(points):
    """Points that no other beats at the same or a lower cost."""
    return sorted(p for p in points if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points))


@pytest.mark.parametrize(('chart', 'costs'), [('chart-latency', MILLISECONDS), ('chart-params', STUDENTS)])
def test_charts_show_every_row_and_the_pareto_front(chart, costs, open_page):
    page = open_page()
    _wait(page, f"document.getElementById('{chart}').data?.length == 3")
    traces = page.evaluate(f"document.getElementById('{chart}').data.map(t => [t.name, t.x, t.y])")
    expected = {method: {(costs[s], v + 0.5) for s, v in values.items()} for method, values in VALUES.items()}
    assert {name: set(zip(x, y, strict=True)) for name, x, y in traces[1:]} == expected
    name, x, y = traces[0]
    assert name == 'Pareto front'
    assert list(zip(x, y, strict=True)) == _front(set.union(*expected.values()))


def test_every_run_is_drawn_joined_with_those_of_its_seed(open_page):
    page = open_page()
    _wait(page, "document.getElementById('chart-runs').data?.length == 3")
    traces = page.evaluate("document.getElementById('chart-runs').data.map(t => [t.name, t.y])")
    values = {(method, student): v + 0.5 for method, own in VALUES.items() for student, v in own.items()}
    ranked = sorted(values, key=values.get, reverse=True)
    means = [values[row] for row in ranked]
    assert traces == [
        ['seed 0', [mean - 0.5 for mean in means]],
        ['seed 1', [mean + 0.5 for mean in means]],
        ['mean ± standard deviation', means],
    ]
    ticks = page.evaluate("document.getElementById('chart-runs').layout.xaxis.ticktext")
    assert ticks == [f'{method}<br>{student}' for method, student in ranked]
    page.select_option('#c-comparison', index=1)  # one row: nothing to compare
    _wait(page, "document.getElementById('chart-runs').parentElement.hidden")


def test_charts_follow_the_filters_the_device_and_the_comparison(open_page):
    page = open_page()
    page.select_option('#f-method', 'from scratch')
    _wait(page, "document.getElementById('chart-params').data?.every(t => t.name != 'H-GKD')")
    page.select_option('#c-device', 'phone, 1 thread')
    _wait(page, "document.getElementById('chart-latency').data?.some(t => t.x.includes(150))")
    page.select_option('#c-comparison', index=1)
    _wait(page, "document.getElementById('chart-params').data?.length == 1")
    assert page.evaluate("document.getElementById('chart-params').data[0].y") == [12]
    page.wait_for_selector('#chart-latency :text("No latency measured")')


def test_point_of_a_chart_opens_its_row(open_page):
    page = open_page()
    _wait(page, "document.getElementById('chart-params').data?.length == 3")
    page.evaluate("""() => {
        const chart = document.getElementById('chart-params');
        const trace = chart.data.find(t => t.name == 'H-GKD');
        chart.emit('plotly_click', {points: [{customdata: trace.customdata[trace.x.indexOf(2.2)]}]});
    }""")
    assert page.locator('.details').count() == 1
    assert 'MobileNetV2' in page.locator('.details').inner_text()


def test_names_of_records_are_text_and_not_markup(open_page):
    page = open_page()
    page.fill('#f-search', 'onerror')
    _wait(page, "document.querySelectorAll('#table tr.item').length == 1")
    page.locator('#table tr.item').click()
    _wait(page, "document.querySelectorAll('.curve .main-svg').length > 0")
    assert EVIL in page.locator('.details').inner_text()
    assert EVIL in page.locator('#table tr.item').inner_text()
    assert page.evaluate('window.hacked') is None


def test_reported_rows_stand_apart_and_problems_are_listed(open_page):
    page = open_page()
    assert 'ImageNet' not in page.locator('#table').inner_text()
    reported = page.locator('#reported').inner_text()
    assert '80.01 top-1 %' in reported and 'paper only' in reported and 'not run here' in reported
    assert 'damaged/result.json: damaged: not JSON' in page.locator('#problems').inner_text()


def test_light_and_dark_follow_the_system_and_the_button(open_page):
    def background(page):
        return page.evaluate('getComputedStyle(document.body).backgroundColor')

    light, dark = open_page(color_scheme='light'), open_page(color_scheme='dark')
    shades = background(light), background(dark)
    assert shades == ('rgb(245, 246, 248)', 'rgb(16, 19, 24)')
    light.click('#theme')
    assert background(light) == shades[1]


def test_phone_needs_no_sideways_scrolling(open_page):
    page = open_page(viewport={'width': 390, 'height': 840}, is_mobile=True, has_touch=True)
    page.locator('button.open').first.tap()
    _wait(page, "document.querySelectorAll('.curve .main-svg').length > 0")
    assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
    box = page.locator('.details').bounding_box()
    assert box['x'] >= 0 and box['x'] + box['width'] <= 390


def test_page_is_one_file(page_file, tmp_path, browser):
    shutil.copy(page_file, tmp_path / 'alone.html')
    page = browser.new_page()
    page.goto(Path(tmp_path, 'alone.html').as_uri())
    page.wait_for_selector('html[data-ready=true]')
    assert page.locator('#table tr.item').count() == 8
    page.close()
