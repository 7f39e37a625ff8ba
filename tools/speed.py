"""Measure speed and memory of the sparse engine, side by side in one process: ``python tools/speed.py encoder``."""

import argparse
from dataclasses import asdict, fields
from pathlib import Path

from hgkd_mm.speed.arms import measure_arms
from hgkd_mm.speed.backbones import measure_backbones
from hgkd_mm.speed.encoder import DEVICES, Setting, describe, measure_encoder, measure_scaling, random_visible
from hgkd_mm.speed.macs import limit
from hgkd_mm.speed.memory import peak_memory
from hgkd_mm.speed.profile import measure_profile
from hgkd_mm.speed.report import machine, plot_bars, plot_scaling, table, write_json
from hgkd_mm.speed.step import measure_step
from hgkd_mm.speed.teacher import measure_teacher
from hgkd_mm.suite.spec import load_suite
from hgkd_mm.utils import cli_errors, write_block


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest='kind', required=True)
    for kind, text in (
        ('encoder', 'dense, mmpretrain, masked and packed: time, memory and the theoretical limit'),
        ('step', "whole pretraining steps: H-GKD with a live and a cached teacher, mmpretrain's SparK"),
        ('scaling', 'packed over the visible fraction and the image size'),
        ('profile', 'the operators that the packed backend spends its time in'),
        ('teacher', "a teacher's tokens: of whole images, of visible patches, from a cache"),
        ('backbones', 'every network of the zoo: exact or not, packed against masked'),
        ('arms', "a suite's ways to pretrain: a training step of each, and the epochs that equal time gives it"),
    ):
        one = kinds.add_parser(kind, help=text)
        if kind == 'arms':
            one.add_argument('suite', help='suite file, or the name of one in configs/suites')
            one.add_argument('--reference', help='arm whose budget gives the time (default: the first)')
        else:
            _add_setting(one, kind)
        one.add_argument('--threads', type=int, default=1 if kind == 'arms' else 2)
        one.add_argument('--rounds', type=int, default=5)
        one.add_argument('--json', type=Path, help='write the measurement')
        one.add_argument('--document', type=Path, help='Markdown file whose block is replaced by the table')
        one.add_argument('--block', help='name of that block (default: speed-KIND)')
        if kind in ('encoder', 'scaling', 'step'):
            one.add_argument('--plot', type=Path, help='draw it (PNG or SVG)')
    return parser.parse_args()


def _add_setting(parser: argparse.ArgumentParser, kind: str) -> None:
    if kind not in ('backbones', 'teacher'):
        parser.add_argument('--model', default='ResNet-50')
    parser.add_argument('--batch-size', type=int, default=16)
    if kind == 'scaling':
        parser.add_argument('--img-sizes', type=int, nargs='+', default=[224], help='pixels')
    else:
        parser.add_argument('--img-size', type=int, default=224, help='pixels')
        parser.add_argument('--visible', type=int, default=20, help='visible patches an image')
    if kind in ('encoder', 'step', 'scaling', 'backbones'):
        parser.add_argument('--device', choices=DEVICES, default='cpu')
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast')


def main() -> None:
    """Measure and report."""
    args = parse_args()
    setting = Setting(**{field.name: getattr(args, field.name) for field in fields(Setting) if field.name in args})
    facts = asdict(setting)
    title = describe(setting)
    if args.kind == 'scaling':
        title = f'{setting.model}, {title.partition(" visible, ")[2]}'
    if args.kind == 'encoder':
        rows = measure_encoder(setting, args.rounds)
        of_peers = {name: row['step_ms'] for row in rows if (name := row['variant']) in ('dense', 'mmpretrain')}
        for row in rows:
            row |= {f'{name}_ratio': step_ms / row['step_ms'] for name, step_ms in of_peers.items()}
            # A GPU's allocator counts the same each time.
            row['memory_mib'] = peak_memory(setting, row['variant'], repeats=3 if setting.device == 'cpu' else 1)
        heads = dict(variant='encoder', forward_ms='forward, ms', step_ms='forward + backward, ms')
        heads |= {f'{name}_ratio': f'times as fast as {name}' for name in of_peers}
        heads |= dict(memory_mib='peak memory, MiB')
        note = f'{title}. Theoretical limit: {limit(setting.model, random_visible(setting)):.2f} times dense.'
    elif args.kind == 'step':
        rows = measure_step(setting, args.rounds)
        heads = dict(method='pretraining', step_ms='step, ms', images_per_s='images/s')
        note = f'{title}.'
    elif args.kind == 'teacher':
        rows = measure_teacher(setting, args.rounds)
        heads = dict(source='tokens', batch_ms='batch, ms', relative='time / time of whole images')
        note = f'ViT-B/16, {title.partition(", ")[2]}.'
    elif args.kind == 'profile':
        rows = measure_profile(setting, rounds=args.rounds)
        heads = dict(operator='operator', calls='calls a step', step_ms='ms a step', share='share, %')
        note = f'{title}, packed, forward + backward.'
    elif args.kind == 'scaling':
        rows = measure_scaling(setting, args.rounds, tuple(tenth / 10 for tenth in range(1, 10)), tuple(args.img_sizes))
        heads = dict(img_size='image, px', visible='visible patches', fraction='fraction')
        heads |= dict(step_ms='forward + backward, ms', relative='time / time of the whole image')
        note = f'{title}.'
    elif args.kind == 'arms':
        suite = load_suite(args.suite)
        rows = measure_arms(suite, args.reference, args.rounds, args.threads)
        heads = dict(student='student', arm='arm', image_ms='ms an image', relative='time / time of the reference')
        heads |= dict(images='images at equal time', epochs='epochs at equal time', suite_epochs='epochs in the suite')
        facts = dict(suite=args.suite, reference=args.reference or rows[0]['arm'], threads=args.threads)
        note = f'Suite {args.suite}, reference {facts["reference"]}, {args.threads} thread(s).'
    else:
        rows = measure_backbones(setting, args.rounds)
        heads = dict(model='backbone', result='packed = masked in float64', masked_ms='masked, ms')
        heads |= dict(packed_ms='packed, ms', speedup='speed-up')
        note = f'{title.partition(", ")[2]}.'
    about = machine(setting.device)
    where = about.get('gpu', f'{about["cpu"]}, {about["instructions"]}')
    text = f'{table(rows, heads)}\n\n{note} {where}, PyTorch {about["torch"]}.'
    print(text)
    if args.json:
        write_json(args.json, args.kind, facts, rows)
    if getattr(args, 'plot', None):
        (plot_scaling if args.kind == 'scaling' else plot_bars)(args.plot, title, rows)
    if args.document:
        write_block(args.document, args.block or f'speed-{args.kind}', text)


if __name__ == '__main__':
    cli_errors(main)()
