"""Files of a converted teacher: safetensors, and a JSON file beside it that says what they are."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from ...utils import atomic_write


def save_teacher(out: Path, state: dict[str, Tensor], facts: dict, say: Callable[[str], None] = print) -> dict:
    """Write a teacher, each file whole or not at all.

    Args:
        out: ``*.safetensors`` file to write.
        state: Weights, which share no memory.
        facts: Of the JSON file; the schema's version, name, file and SHA-256 are added where they are not said.
        say: Receives a line for the user.

    Returns:
        The content of the JSON file.
    """
    from safetensors.torch import save  # here, not above: training does not need it

    content = save(state, metadata={'format': 'pt'})
    sha256 = hashlib.sha256(content).hexdigest()
    info = {'schema': 1, 'name': out.stem, 'file': out.name, 'sha256': sha256, **facts}
    with atomic_write(out) as temporary:
        temporary.write_bytes(content)
    with atomic_write(out.with_suffix('.json')) as temporary:
        temporary.write_text(json.dumps(info, indent=2) + '\n', encoding='utf-8')
    say(f'wrote {out} ({len(content) / 1e6:.1f} MB) and {out.with_suffix(".json")}')
    return info
