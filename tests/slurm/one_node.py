"""A real Slurm of one node on loopback, without installing a service: ``python tests/slurm/one_node.py COMMAND...``

Needs root and Debian's packages ``slurm-wlm`` and ``munge``. The daemons run in the foreground as our children, with
their files in a folder of their own; they are ended by process id when the command is done. Only a link is made
elsewhere, ``/etc/slurm/slurm.conf``: Snakemake's plug-in starts ``srun`` without the variable that names another place.
"""

import argparse
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ('munged', 'slurmctld', 'slurmd', 'sbatch', 'squeue', 'scontrol', 'sinfo')
_CONFIG = Path('/etc/slurm/slurm.conf')
_LOCK = Path('/run/lock/hgkd-one-node-slurm')
_PATH = os.pathsep.join([os.environ.get('PATH', ''), '/usr/sbin', '/sbin'])

CONFIG = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
# A job that is queued again waits as long as its credential lasts, by default two minutes.
AuthInfo=socket={folder}/munge.socket,cred_expire=15
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,batch_sched_delay=0
ReturnToService=2
MailProg=/bin/true
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Say why a cluster cannot be brought up here; None when it can."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]
    if missing:
        return f'{", ".join(missing)} not installed: apt-get install slurm-wlm munge'
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    return f'{_CONFIG} exists: a cluster is configured here' if _CONFIG.is_file() and not _CONFIG.is_symlink() else None


@contextmanager
def cluster(folder: Path, cpus: int) -> Iterator[dict[str, str]]:
    """Bring a cluster up and down again.

    Args:
        folder: For its files.
        cpus: Cores that its node offers, at most those of the machine.

    Yields:
        Environment variables for its clients.
    """
    host = socket.gethostname().partition('.')[0]
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // 2**20
    for name in ('state', 'spool'):
        (folder / name).mkdir()
    key = folder / 'munge.key'
    key.touch(mode=0o400)
    key.write_bytes(os.urandom(1024))
    config = folder / 'slurm.conf'
    config.write_text(CONFIG.format(host=host, ports=free_ports(2), folder=folder, cpus=cpus, memory=memory * 4 // 5))
    environment = {**os.environ, 'PATH': _PATH}
    munged = ['munged', '--force', '--foreground', f'--key-file={key}', f'--socket={folder}/munge.socket']
    munged += [f'--{name}-file={folder}/munged.{name}' for name in ('pid', 'log', 'seed')]
    daemons: list[subprocess.Popen] = []
    lock = _LOCK.open('w')
    fcntl.flock(lock, fcntl.LOCK_EX)  # one at a time on this machine
    try:
        _CONFIG.unlink(missing_ok=True)  # of one that was killed
        _CONFIG.symlink_to(config)
        for command in (munged, ['slurmctld', '-D'], ['slurmd', '-D', '-N', host]):
            with (folder / f'{command[0]}.out').open('wb') as out:
                start = {'env': environment, 'stdout': out, 'stderr': subprocess.STDOUT}
                daemons.append(subprocess.Popen(command, preexec_fn=_end_with_parent, **start))
            time.sleep(0.5)
        wait_until_idle(daemons, environment, folder)
        yield environment
    finally:
        subprocess.run(['scancel', '--user', 'root'], env=environment, capture_output=True, check=False)
        for daemon in reversed(daemons):
            daemon.terminate()
            try:
                daemon.wait(timeout=20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        _CONFIG.unlink(missing_ok=True)
        lock.close()


def _end_with_parent() -> None:
    """Let the kernel end this process when its parent dies, however that happens."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nothing listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(('127.0.0.1', 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_until_idle(daemons: list[subprocess.Popen], environment: dict[str, str], folder: Path) -> None:
    """Wait until the node takes jobs; raise RuntimeError with the daemons' words when it does not."""
    state = ''
    for _ in range(120):
        if any(daemon.poll() is not None for daemon in daemons):
            break
        asked = subprocess.run(
            ['sinfo', '-h', '-o', '%T'], env=environment, capture_output=True, text=True, check=False
        )
        state = asked.stdout.strip()
        if state == 'idle':
            return
        time.sleep(0.5)
    words = '\n'.join(f'{path.name}: {path.read_text()[-800:]}' for path in sorted(folder.glob('*.out')))
    raise RuntimeError(f'the node is {state or "silent"}, not idle\n{words}')


def main() -> None:
    """Run a command with a cluster around it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--cpus', type=int, default=os.cpu_count() or 1)
    parser.add_argument('command', nargs=argparse.REMAINDER)
    args = parser.parse_args()
    reason = why_not()
    if reason:
        sys.exit(f'error: {reason}')
    with tempfile.TemporaryDirectory(prefix='slurm-') as folder, cluster(Path(folder), args.cpus) as environment:
        sys.exit(subprocess.run(args.command or ['sinfo'], env=environment, check=False).returncode)


if __name__ == '__main__':
    main()
