"""How rows, protocols and numbers are written for people."""

import html
import re
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import yaml

from ..latency.record import Timing
from .collect import Gain, Row, Table
from .record import METRICS

#: Variants whose spaces the command line took out, so that records have them without, and what they say.
VARIANT_NAMES = {
    'aquarterunmasked': 'a quarter unmasked',
    'aquarterunmaskedandcells': 'a quarter unmasked and cells',
    'aquarterunmaskedandeverystage': 'a quarter unmasked and every stage',
    'everystage': 'every stage',
    'halfunmasked': 'half unmasked',
    'wholeattheendandcells': 'whole at the end and cells',
}


#: How the name of a data set ends of whose labels fine-tuning has a part.
_SHARE = re.compile(r', ([\d.]+) % of the labels$')


def label_percent(table: Table) -> float:
    """Return what percentage of the labels fine-tuning has, as the data set's name says."""
    share = _SHARE.search(table.dataset.name)
    return float(share[1]) if share else 100.0


def percent_text(percent: float) -> str:
    """Write the percentage of the labels; empty of all of them."""
    return '' if percent == 100 else f'{percent:g} % of the labels'


def without_percent(table: Table) -> str:
    """Name the data set whatever share of its labels fine-tuning has."""
    return _SHARE.sub('', table.dataset.name)


def data_name(table: Table) -> str:
    """Name the data set with its version, then the share of its labels and the folds."""
    version = f' {table.dataset.version}' if table.dataset.version else ''
    folds = f'fold{"s" if len(table.folds) > 1 else ""} {", ".join(map(str, table.folds))}' if table.folds else ''
    return ', '.join(filter(None, [without_percent(table) + version, percent_text(label_percent(table)), folds]))


def with_variant(method: str, variant: str | None) -> str:
    """Name a method, and what is special about a run of it."""
    return f'{method}, {VARIANT_NAMES.get(variant, variant)}' if variant else method


def method_name(row: Row) -> str:
    """Name the method of a row, and what is special about its run."""
    return with_variant(row.method, row.pretraining.variant if row.pretraining else None)


def teacher_name(row: Row) -> str:
    """Name the teacher, the layer its tokens come from, and whether they were shuffled; empty without a teacher."""
    pre = row.pretraining
    if pre is None or not pre.teacher:
        return ''
    layer = f' layer {pre.teacher_layer}' if pre.teacher_layer else ''
    return pre.teacher + layer + (', targets shuffled' if pre.targets_shuffled else '')


def start_name(row: Row) -> str:
    """Say what the backbone's weights come from."""
    name, teacher = method_name(row), teacher_name(row)
    return f'{name} ({teacher})' if teacher else name


def row_name(row: Row) -> str:
    """Name a row in one line: backbone, start and pretraining."""
    return f'{row.model.backbone}, {_start_and_budget(row)}'


def _start_and_budget(row: Row) -> str:
    budget = pretraining_budget(row)
    return start_name(row) + (f', {budget}' if budget else '')


def row_names(rows: Sequence[Row], short: bool = False) -> list[str]:
    """Name rows in one line each; those that share a name, but not the recipe of pretraining, have its hash, too.

    Args:
        rows: In the order of the names.
        short: Leave out the backbone that all have.
    """
    same = short and len({row.model.backbone for row in rows}) == 1
    named = [(_start_and_budget(row) if same else row_name(row), recipe_hash(row)) for row in rows]
    shared = Counter(name for name, _ in set(named))
    return [name + recipe * (shared[name] > 1) for name, recipe in named]


def pretraining_budget(row: Row) -> str:
    """Say how long and how masked pretraining was; empty when there was none."""
    pre = row.pretraining
    if pre is None:
        return ''
    parts = [epochs(pre.epochs)] if pre.epochs is not None else []
    if pre.mask_ratio is not None:
        parts.append(f'{100 * pre.mask_ratio:g} % masked')
    return ', '.join(parts)


def recipe_hash(row: Row) -> str:
    """Write the beginning of the hash of the pretraining's recipe, to be added to a name; empty without one."""
    pre = row.pretraining
    return f' [{pre.recipe_sha256[:6]}]' if pre and pre.recipe_sha256 else ''


def protocol_name(table: Table) -> str:
    """Name a protocol: epochs, resolution, recipe, and the hash of the rest."""
    p = table.protocol
    return f'{epochs(p.epochs)}, {p.resolution} px, {p.recipe}{protocol_hash(table)}'


def protocol_short(table: Table) -> str:
    """Name a protocol where :func:`protocol_name` stands elsewhere: epochs, and the hash to find it by."""
    return f'{epochs(table.protocol.epochs)}{protocol_hash(table)}'


def protocol_hash(table: Table) -> str:
    """Write the beginning of a protocol's hash, to be added to a name; empty without one."""
    return f' [{table.protocol.sha256[:6]}]' if table.protocol.sha256 else ''


def protocol_facts(table: Table) -> list[tuple[str, str]]:
    """List everything that is equal for all rows of a table."""
    p, budget = table.protocol, table.rows[0].runs[0].record.budget
    facts = [('Fine-tuning', epochs(p.epochs))]
    if budget.finetuning_images:
        facts.append(('Images seen', f'{budget.finetuning_images:,}'))
    facts += [
        ('Batch', str(p.batch_size)),
        ('Resolution', f'{p.resolution} px'),
        ('Recipe', p.recipe),
    ]
    if p.optimizer:
        facts.append(('Optimizer', f'{p.optimizer}{f", lr {p.lr:g}" if p.lr else ""}'))
    for label, value in (
        ('Schedule', p.schedule),
        ('Augmentation', p.augmentation),
        ('Precision', p.precision),
    ):
        if value:
            facts.append((label, value))
    if table.chance is not None:
        facts.append(('Chance', f'{table.chance:.1f} %'))
    return facts


def epochs(number: float) -> str:
    """Write a number of epochs."""
    return f'{number:g} epoch' + ('' if number == 1 else 's')


def label(table: Table, metric: str) -> str:
    """Name a metric with its unit."""
    return METRICS[table.task][metric].label


def number(row: Row, metric: str) -> str:
    """Write mean and standard deviation."""
    return spread([run.record.metrics[metric] for run in row.runs])


def spread(values: Collection[float]) -> str:
    """Write the mean of some numbers and, of two or more, their standard deviation."""
    mean = f'{statistics.fmean(values):.1f}'
    return f'{mean} ± {statistics.stdev(values):.1f}' if len(values) > 1 else mean


def gain_text(gain: Gain | None, runs: int) -> str:
    """Write a gain with its p-value and, where they are not as many as the row's ``runs``, its pairs; empty of none."""
    if gain is None:
        return ''
    notes = []
    if gain.p is not None:
        p = p_text(gain.p)
        notes.append(f'p{p if p.startswith("<") else f"={p}"}')
    if gain.pairs != runs:
        notes.append(f'{gain.pairs} pair{"s" * (gain.pairs != 1)}')
    return f'{gain.value:+.1f}' + f' ({", ".join(notes)})' * bool(notes)


def p_text(p: float) -> str:
    """Write a p-value; below a thousandth the digits say nothing."""
    return '<0.001' if p < 0.001 else f'{p:.2g}'


def timing_text(timing: Timing) -> str:
    """Say how long one image takes, and where."""
    return f'{timing.median_ms:.2f} ms ({place(timing)})'


def place(timing: Timing) -> str:
    """Name a device and the threads on it."""
    return f'{timing.device}, {timing.threads} thread{"s" * (timing.threads > 1)}'


def rounded(value: float | None) -> float | None:
    """Round for files that programs read."""
    return None if value is None else round(value, 4)


def slug(text: str) -> str:
    """Turn a name into letters, digits and dashes."""
    return re.sub(r'[^a-z0-9.]+', '-', text.lower()).strip('-')


def cell(text: str) -> str:
    """Escape a Markdown table cell."""
    return html.escape(' '.join(text.split()), quote=False).replace('|', '\\|')


def markdown_table(head: list[str], rows: Iterable[list[str]]) -> str:
    """Render a Markdown table; cells are escaped."""
    lines = [head, ['---'] * len(head), *([cell(text) for text in row] for row in rows)]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines) + '\n'


def dump_yaml(content: object) -> str:
    """Write plain data as YAML; with libyaml, where PyYAML has it, seven times as fast."""
    dumper = getattr(yaml, 'CSafeDumper', yaml.SafeDumper)
    return yaml.dump(content, Dumper=dumper, sort_keys=False, allow_unicode=True, width=120)
