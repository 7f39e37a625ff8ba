"""Make the project's environment: .venv with a pinned stack, and prove that it works.

Needs nothing but the standard library. Run again, it does nothing unless the requirements changed.
"""

import argparse
import ctypes
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STAMP = '.hgkd-env'  # inside the environment: the fingerprint of what was installed
TORCH_CUDA_MAJOR = 12  # the CUDA that PyPI's torch is built for
DISK_NEEDED_GIB = 12
SUITE_PYTHON = (3, 11)  # the oldest that Snakemake 9 runs on
# Folder of each stack's requirements with hashes, the Pythons it has, and the environment's usual place.
STACKS = {
    'onedl': ('requirements/hashed', ((3, 10), (3, 12)), '.venv'),
    'openmmlab': ('requirements/hashed/openmmlab', ((3, 10), (3, 11)), '.venv-openmmlab'),
}
# Every package is pinned and its file's hash checked; what a package asks for besides is not installed.
PIP_INSTALL = ('-m', 'pip', 'install', '--disable-pip-version-check', '--no-input', '--no-deps')
VERIFIED = ('--require-hashes', '-r')

PROVE_OPS = """
import sys, torch, mmcv.ops
boxes = torch.tensor([[0., 0., 2., 2.], [0., 0., 2., 1.9]])
assert mmcv.ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.5)[1].tolist() == [0]
if sys.argv[1] == 'cuda':
    assert mmcv.ops.nms(boxes.cuda(), torch.tensor([0.9, 0.8]).cuda(), 0.5)[1].tolist() == [0]
"""
PROVE_STACK = 'import hgkd_mm, mmcv.ops, mmpretrain, mmdet, mmseg, onnxruntime, pycocotools.mask'


class SetupError(Exception):
    """The environment cannot be made; the message says what to do."""


def missing_packages() -> list[tuple[str, str]]:
    """List what the system lacks.

    Returns:
        Debian package and what it is needed for.
    """
    missing = []
    if importlib.util.find_spec('ensurepip') is None:
        missing.append(('python3-venv', 'virtual environments with pip'))
    if shutil.which(os.environ.get('CXX', 'g++')) is None:
        missing.append(('g++', 'compiling mmcv operators'))
    if not Path(sysconfig.get_path('include'), 'Python.h').is_file():
        missing.append(('python3-dev', 'Python.h, for compiling mmcv operators'))
    for library, package in (('libGL.so.1', 'libgl1'), ('libgthread-2.0.so.0', 'libglib2.0-0')):
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.append((package, f'{library}, for opencv-python'))
    return missing


def check_system(venv: Path, stack: str = 'onedl') -> None:
    """Stop early when something cannot work.

    Raises:
        SetupError: Names the Python version, the system packages or the disk space needed.
    """
    version = sys.version_info[:2]
    first, last = STACKS[stack][1]
    if not first <= version <= last:
        raise SetupError(
            f'Python {version[0]}.{version[1]} ({sys.executable}) found, 3.{first[1]} to 3.{last[1]} needed; '
            'name one with: make env PYTHON=python3.11'
        )
    missing = missing_packages()
    if missing:
        needs = ', '.join(f'{package} ({reason})' for package, reason in missing)
        names = ' '.join(package for package, _ in missing)
        raise SetupError(f'missing system packages: {needs}. Install them with: apt-get install {names}')
    if not venv.exists():
        free = shutil.disk_usage(venv.parent).free / 2**30
        if free < DISK_NEEDED_GIB:
            raise SetupError(f'{free:.0f} GiB of disk are free at {venv.parent}, {DISK_NEEDED_GIB} GiB needed')


def cuda_toolkit() -> tuple[bool, str]:
    """Say whether mmcv's CUDA operators can be built here, and why (not)."""
    if not Path('/dev/nvidiactl').exists() and shutil.which('nvidia-smi') is None:
        return False, 'no GPU: CPU operators'
    cpu_only = 'CPU operators only, detection on the GPU will fail'
    home = os.environ.get('CUDA_HOME', '/usr/local/cuda')
    nvcc = shutil.which('nvcc') or shutil.which(str(Path(home, 'bin', 'nvcc')))
    if nvcc is None:
        return False, f'GPU, but no CUDA toolkit (nvcc): {cpu_only}'
    said = subprocess.run([nvcc, '--version'], capture_output=True, text=True, check=False).stdout
    found = re.search(r'release (\d+)', said)
    if not found or int(found.group(1)) != TORCH_CUDA_MAJOR:
        return False, f'GPU, but {nvcc} is not of CUDA {TORCH_CUDA_MAJOR}, as torch is: {cpu_only}'
    return True, f'GPU and CUDA toolkit ({nvcc}): CUDA operators'


def fingerprint(root: Path, cuda: bool, stack: str = 'onedl') -> str:
    """Hash everything that decides what the environment contains."""
    digest = hashlib.sha256(f'{sys.version_info[:2]} cuda={cuda}'.encode())
    for pattern in ('pyproject.toml', f'{STACKS[stack][0]}/*.txt'):
        for path in sorted(root.glob(pattern)):
            digest.update(path.name.encode() + b'\0' + path.read_bytes())
    return digest.hexdigest()


def install_suite(venv: Path) -> None:
    """Create the environment of Snakemake, which runs the suites; its pins clash with the training stack."""
    if sys.version_info[:2] < SUITE_PYTHON:
        raise SetupError(
            f'Snakemake needs Python 3.11 or newer, found {sys.version.split()[0]} ({sys.executable}); '
            'name one with: make env-suite PYTHON=python3.12'
        )
    pins = ROOT / 'requirements' / 'hashed' / 'suite' / 'lock.txt'
    wanted = hashlib.sha256(f'{sys.version_info[:2]}'.encode() + pins.read_bytes()).hexdigest()
    stamp, python = venv / STAMP, venv / 'bin' / 'python'
    if stamp.is_file() and stamp.read_text() == wanted and python.exists():
        print(f'{venv}: up to date')
        return
    print(f'Setting up {venv}', flush=True)
    subprocess.run([sys.executable, '-m', 'venv', '--clear', str(venv)], check=True)
    steps = Steps(venv / 'setup.log')
    steps.run('Snakemake and its Slurm plug-in', [python, *PIP_INSTALL, *VERIFIED, pins])
    proof = 'import snakemake.cli, snakemake_executor_plugin_slurm'
    steps.run('proof: both import', [python, '-c', proof])
    stamp.write_text(wanted)


def support_matrix() -> str:
    """Table for the README: what each stack consists of, from its pins."""
    rows: dict[str, list[str]] = {
        '': ["OneDL's releases (default)", "OpenMMLab's own"],
        'Python': [f'{first[0]}.{first[1]} to {last[0]}.{last[1]}' for _, (first, last), _ in STACKS.values()],
    }
    packages = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmpretrain', 'mmdetection', 'mmsegmentation', 'numpy')
    for folder, _, _ in STACKS.values():
        lines = ''.join((ROOT / folder / f'{name}.txt').read_text() for name in ('torch', 'mmcv', 'lock'))
        pins = dict(re.findall(r'^([\w-]+)==(\S+)', lines, re.M))
        for name in packages:
            upstream = 'mmdet' if name == 'mmdetection' else name
            rows.setdefault(name, []).append(pins.get(f'onedl-{name}') or pins[upstream])
    rows['Set-up'] = ['`make env`', '`make env STACK=openmmlab`']
    rows['Tests'] = ['`make test`: all, in CI', '`make test STACK=openmmlab`: those of a few seconds']
    lines = [f'| {name} | {one} | {other} |' for name, (one, other) in rows.items()]
    return '\n'.join([lines[0].replace('|  |', '| |'), '|---|---|---|', *lines[1:]])


def build_jobs() -> int:
    """Compile on every core, but leave 2 GiB of memory to each compiler."""
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    return max(1, min(os.cpu_count() or 1, memory // (2 * 2**30)))


class Steps:
    """Runs commands one after the other: says what and how long, keeps their output in a log."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.started = time.monotonic()

    def run(self, title: str, command: list, env: dict | None = None, fatal: bool = True) -> bool:
        """Run a command.

        Args:
            title: What is done, for people.
            command: Program and arguments.
            env: Additional environment variables.
            fatal: Raise on failure.

        Returns:
            Whether it succeeded.

        Raises:
            SetupError: It failed and ``fatal``; with the end of its output.
        """
        print(f'  {title} ...', flush=True)
        begin = time.monotonic()
        with open(self.log, 'ab') as log:
            log.write(f'\n$ {" ".join(map(str, command))}\n'.encode())
            log.flush()
            process = subprocess.Popen(
                [str(part) for part in command],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env={**os.environ, **(env or {})},
            )
            while True:
                try:
                    code = process.wait(timeout=60)
                    break
                except subprocess.TimeoutExpired:
                    print(f'    ... {(time.monotonic() - begin) / 60:.0f} min', flush=True)
                except BaseException:  # Ctrl-C must not leave a compiler running
                    process.terminate()
                    process.wait()
                    raise
        seconds = time.monotonic() - begin
        if code == 0:
            print(f'    done in {seconds:.0f} s', flush=True)
        elif fatal:
            tail = self.log.read_text(errors='replace').splitlines()[-25:]
            raise SetupError('\n'.join([*tail, f'{title}: failed (exit status {code}); see {self.log}']))
        return code == 0


def install(venv: Path, cuda: bool, stack: str) -> None:
    """Create the environment and install everything in the order mmcv's build needs."""
    if not (venv / 'bin' / 'python').exists():
        print(f'  creating {venv} with Python {sys.version.split()[0]}', flush=True)
        subprocess.run([sys.executable, '-m', 'venv', str(venv)], check=True)
    python = venv / 'bin' / 'python'
    ours = [sys.version_info.major, sys.version_info.minor]
    probe = 'import sys; print(*sys.version_info[:2])'
    found = subprocess.run([python, '-c', probe], capture_output=True, text=True, check=False).stdout
    if found.split() != [str(number) for number in ours]:
        raise SetupError(f'{venv} is broken or of another Python than {ours}: remove it and run again')

    steps = Steps(venv / 'setup.log')
    pip = [python, *PIP_INSTALL]
    requirements = ROOT / STACKS[stack][0]
    steps.run('pip and build tools', [*pip, *VERIFIED, requirements / 'build.txt'])
    steps.run('PyTorch', [*pip, *VERIFIED, requirements / 'torch.txt'])
    # Some packages come as source and are built with what is here, not with what they would fetch.
    here = [*pip, '--no-build-isolation']
    libraries = [*here, *VERIFIED, requirements / 'lock.txt']
    steps.run("OpenMMLab, torch's CUDA libraries (2 GB), spconv, ONNX Runtime and tools", libraries)
    env = {'MMCV_WITH_OPS': '1', 'MAX_JOBS': os.environ.get('MAX_JOBS') or str(build_jobs())}
    # mmcv's build asks torch for a GPU and then wants nvcc; hiding the GPU gives CPU operators.
    env.update({'FORCE_CUDA': '1'} if cuda else {'CUDA_VISIBLE_DEVICES': '', 'FORCE_CUDA': '0'})
    mmcv = [*here, *VERIFIED, requirements / 'mmcv.txt']
    proof = [python, '-c', PROVE_OPS, 'cuda' if cuda else 'cpu']
    steps.run('mmcv with its operators (compiles about 10 min on 2 cores, the first time)', mmcv, env)
    if not steps.run("proof: mmcv's operators compute", proof, fatal=False):
        # pip caches the wheel; one built for another torch installs just as well.
        steps.run('mmcv again, from source', [*mmcv, '--no-cache-dir', '--force-reinstall'], env)
        steps.run("proof: mmcv's operators compute", proof)
    steps.run('hgkd_mm itself, editable', [*here, '-e', ROOT])
    steps.run('proof: the whole stack imports', [python, '-c', PROVE_STACK])
    print(f'  environment ready after {(time.monotonic() - steps.started) / 60:.1f} min', flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--stack',
        choices=list(STACKS),
        default='onedl',
        help="OneDL's maintained releases, or OpenMMLab's last own ones with torch 2.1 (default: %(default)s)",
    )
    parser.add_argument(
        '--venv',
        type=Path,
        help='folder of the environment (default: .venv, .venv-openmmlab or .venv-suite)',
    )
    parser.add_argument('--check', action='store_true', help='only say whether it is up to date')
    parser.add_argument('--matrix', action='store_true', help='print the support matrix of README.md')
    parser.add_argument('--suite', action='store_true', help='the environment of Snakemake, which runs the suites')
    args = parser.parse_args()
    if args.matrix:
        print(support_matrix())
        return
    venv = (args.venv or ROOT / ('.venv-suite' if args.suite else STACKS[args.stack][2])).absolute()
    if args.suite:
        install_suite(venv)
        return
    cuda, reason = cuda_toolkit()
    wanted, stamp = fingerprint(ROOT, cuda, args.stack), venv / STAMP
    if stamp.is_file() and stamp.read_text() == wanted and (venv / 'bin' / 'python').exists():
        print(f'{venv}: up to date')
        return
    if args.check:
        raise SetupError(f'{venv}: not made yet, or for other requirements; run: make env STACK={args.stack}')
    print(f'Setting up {venv} ({args.stack}; mmcv: {reason})', flush=True)
    check_system(venv, args.stack)
    stamp.unlink(missing_ok=True)
    install(venv, cuda, args.stack)
    stamp.write_text(wanted)


if __name__ == '__main__':
    try:
        main()
    except SetupError as error:
        sys.exit(f'error: {error}')
