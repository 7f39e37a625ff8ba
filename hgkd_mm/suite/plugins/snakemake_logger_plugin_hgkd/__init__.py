"""Snakemake logger plug-in: tells the suite's progress display what happens, one JSON object a line on stdout.

Snakemake finds it because :mod:`hgkd_mm.suite.engine` puts its folder on Snakemake's ``PYTHONPATH``.
"""

import json
from logging import LogRecord

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

#: Marks our lines among others.
PREFIX = '@hgkd '


class LogHandler(LogHandlerBase):
    """Write job events as JSON, everything else as text."""

    def __post_init__(self) -> None:
        self.names: dict[int, str] = {}

    def emit(self, record: LogRecord) -> None:
        """Write one event."""
        fields = vars(record)
        event = fields.get('event')
        if event == LogEvent.JOB_INFO and fields['wildcards']:
            self.names[fields['jobid']] = f'{fields["rule_name"]}/{fields["wildcards"]["name"]}'
            self._say('started', fields['jobid'])
        elif event == LogEvent.JOB_FINISHED:
            self._say('finished', fields['job_id'])
        elif event == LogEvent.JOB_ERROR:
            self._say('failed', fields['jobid'])
        elif event is None or event == LogEvent.ERROR:
            text = self.format(record)
            if text not in ('', 'None'):
                print(text, flush=True)

    def _say(self, event: str, jobid: int) -> None:
        if jobid in self.names:
            print(PREFIX + json.dumps({'event': event, 'job': self.names[jobid]}), flush=True)

    @property
    def writes_to_stream(self) -> bool:
        """Take the place of Snakemake's own output."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """No log file of its own."""
        return False

    @property
    def has_filter(self) -> bool:
        """Snakemake's filter stays."""
        return False

    @property
    def has_formatter(self) -> bool:
        """Lines are made here."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """The graph is not shown."""
        return False
