"""Typed errors: everything a user can cause by a wrong file, key or option is one of these."""


class HGKDError(Exception):
    """Base of all errors raised on purpose by this project."""


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
