"""The documents tell the truth: links lead somewhere, files exist, commands are understood.

A block of commands is executed when the line before it is the comment ``<!-- test: run -->``.
"""

import functools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').rglob('*.md'))]
# Made by the commands themselves, so not there in a fresh clone.
GENERATED = ('data/', 'weights/', 'work_dirs/', 'leaderboard/', '.venv/')
BLOCK = re.compile(r'(?P<run><!-- test: run -->\n+)?^```(?:bash|sh)\n(?P<body>.*?)^```', re.M | re.S)


def _name(path):
    return path.relative_to(ROOT).as_posix()


def _texts():
    return [(path, path.read_text(encoding='utf-8')) for path in DOCUMENTS if path.is_file()]


def commands(body):
    """Split a block into the words of its commands; joins continued lines, drops comments."""
    for line in body.replace('\\\n', ' ').splitlines():
        words = shlex.split(line.removeprefix('$ '), comments=True)
        while words and re.fullmatch(r'\w+=.*', words[0]):  # VARIABLE=value command
            words = words[1:]
        if words:
            yield words


BLOCKS = [(path, m) for path, text in _texts() for m in BLOCK.finditer(text)]
COMMANDS = sorted({(_name(path), *words) for path, m in BLOCKS for words in commands(m['body'])})
TOOLS = [c for c in COMMANDS if any(word.startswith('tools/') for word in c)]


@functools.cache
def _help(script, *subcommand):
    done = subprocess.run(
        [sys.executable, script, *subcommand, '--help'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f'{script} {subcommand} --help: {done.stderr[-500:]}'
    return done.stdout


def test_commands_are_found_in_a_block():
    text = 'x\n\n<!-- test: run -->\n```bash\nmake env  # comment\n'
    text += 'A=1 python tools/a.py \\\n    --b "c d"\n```\n'
    (block,) = BLOCK.finditer(text)
    assert block['run']
    assert list(commands(block['body'])) == [
        ['make', 'env'],
        ['python', 'tools/a.py', '--b', 'c d'],
    ]


@pytest.mark.parametrize('command', COMMANDS, ids=' '.join)
def test_files_in_commands_exist(command):
    for word in command[1:]:
        path = word.partition('=')[2] or word
        is_ours = path.startswith(('configs/', 'tools/', 'tests/', 'hgkd_mm/', 'docs/'))
        if is_ours and not re.search(r'[*$<{]|\b[A-Z]{3,}\b', path):
            assert (ROOT / path).exists(), f'{command[0]}: {path} does not exist'


@pytest.mark.parametrize('command', [c for c in COMMANDS if c[1] == 'make'], ids=' '.join)
def test_make_targets_exist(command):
    targets = re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(), re.M)
    wanted = [word for word in command[2:] if '=' not in word and not word.startswith('-')]
    assert set(wanted) <= set(targets)


@pytest.mark.slow
@pytest.mark.parametrize('command', TOOLS, ids=' '.join)
def test_options_in_commands_are_known_to_the_tool(command):
    position = next(i for i, word in enumerate(command) if word.startswith('tools/'))
    script, arguments = command[position], command[position + 1 :]
    if not script.endswith('.py'):
        pytest.skip('not a Python tool')
    text = _help(script)
    choices = re.search(r'\{([\w,-]+)\} \.\.\.', text)
    if choices and arguments:
        assert arguments[0] in choices[1].split(','), f'{script} has no command {arguments[0]}'
        text = _help(script, arguments[0])
    for argument in arguments:
        option = argument.partition('=')[0]
        if re.fullmatch(r'--?[a-z][\w-]*', option):
            assert re.search(rf'(?<![\w-]){option}(?![\w-])', text), f'{script} has no option {option}'


@pytest.mark.slow
@pytest.mark.parametrize(
    ('document', 'block'),
    [(path, m['body']) for path, m in BLOCKS if m['run']],
    ids=[_name(path) for path, m in BLOCKS if m['run']],
)
def test_marked_blocks_run(document, block):
    bash = ['bash', '-euo', 'pipefail', '-c', block]
    done = subprocess.run(bash, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, f'{document}:\n{block}\n{done.stderr[-2000:]}'


def anchors(text):
    """List a document's heading anchors as code hosts make them."""
    titles = re.findall(r'^#+ (.+)$', text, re.M)
    return {re.sub(r'[^\w\- ]', '', title.lower()).strip().replace(' ', '-') for title in titles}


@pytest.mark.parametrize(('path', 'text'), _texts(), ids=[_name(path) for path, _ in _texts()])
def test_links_lead_somewhere(path, text):
    links = re.findall(r'\]\(([^)\s]+)\)', text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    for link in links:
        if re.match(r'[a-z]+:', link):
            continue
        file, _, anchor = link.partition('#')
        target = (path.parent / file).resolve() if file else path
        if _name(target).startswith(GENERATED):
            continue
        assert target.exists(), f'{_name(path)}: link to {link}'
        if anchor and target.suffix == '.md':
            assert anchor in anchors(target.read_text()), f'{_name(path)}: no heading for {link}'


@pytest.mark.parametrize(('path', 'text'), _texts(), ids=[_name(path) for path, _ in _texts()])
def test_files_named_in_the_text_exist(path, text):
    for name in re.findall(r'`((?:configs|tools|tests|hgkd_mm|requirements)/[\w./-]+\.\w+)`', text):
        if not re.search(r'[A-Z]{3,}', name):
            assert (ROOT / name).exists(), f'{_name(path)}: {name} does not exist'
