"""Typed errors: everything a user can cause by a wrong file, key or option is one of these."""


class HGKDError(Exception):
    """Base of all errors raised on purpose by this project.

    Attributes:
        exit_code: What a command ends with that stops by it; docs/reliability.md lists them.
    """

    exit_code = 2


class ConfigError(HGKDError):
    """A config, option or argument has a wrong name or value."""


class DataError(HGKDError):
    """A data set, image or annotation is missing or not what it should be."""


class DownloadError(HGKDError):
    """A source package cannot be fetched, or is not the expected one."""


class WeightsError(HGKDError):
    """A weight file is missing, of the wrong kind, or does not fit the model."""


class RecordError(HGKDError):
    """A result record is malformed."""


class MaskError(HGKDError):
    """A patch mask does not fit the image, or hides everything."""


class UnsupportedLayerError(HGKDError):
    """A layer cannot be made sparse exactly."""


class NumericsError(HGKDError):
    """A loss or gradient is not finite, the student collapsed, or the teacher says nothing."""

    exit_code = 70  # EX_SOFTWARE


class ProcessError(HGKDError):
    """Another process of the run is gone: a rank, or one that loads data."""

    exit_code = 71  # EX_OSERR


class StorageError(HGKDError):
    """Something could not be written: no space, no permission, a broken disk."""

    exit_code = 74  # EX_IOERR


class PreemptedError(HGKDError):
    """The run was asked to stop by a signal; it saved and can go on with ``--resume``."""

    exit_code = 75  # EX_TEMPFAIL
