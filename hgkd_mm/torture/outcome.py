"""What a torture reports."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Outcome:
    """Result of one torture.

    Args:
        what: What was done, as in the table.
        promise: What must not happen, as in the table.
        tried: How often.
        failures: What went wrong, one text each.
        note: Figures worth showing.
        seconds: It took so long.
    """

    what: str
    promise: str
    tried: int = 0
    failures: list[str] = field(default_factory=list)
    note: str = ''
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)
