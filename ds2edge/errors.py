"""Every exception that a user of ds2edge can meet.

Each message says what was got, what was needed and, where there is one, the remedy.
"""


class Ds2edgeError(Exception):
    """Base of all errors raised on purpose by ds2edge."""


class AudioError(Ds2edgeError):
    """Audio that cannot be used: unreadable file, wrong dtype, shape or rate, NaN."""


class BundleError(Ds2edgeError):
    """A model bundle that is missing, damaged, incomplete, mismatched or too new."""


class BackendError(Ds2edgeError):
    """The acoustic runtime is missing or failed while it loaded or ran a model."""


class DecoderError(Ds2edgeError):
    """Bad decoder input, options, lexicon or language model."""


class StreamError(Ds2edgeError):
    """A stream was misused: closed, used by two threads at once, or in a forked child."""


class BacklogError(StreamError):
    """A dispatcher has not caught up with a stream, which takes no more for now."""


class TextError(Ds2edgeError):
    """Text that the token set cannot spell."""


class ConfigError(Ds2edgeError):
    """A configuration with an unknown key or an impossible value."""


class DataError(Ds2edgeError):
    """A training manifest or checkpoint that is missing, malformed or does not fit."""


class WorkerError(Ds2edgeError):
    """One of several training workers is gone, unreachable, or at odds with the others."""


class MissingExtraError(Ds2edgeError):
    """A command needs packages of an extra that is not installed."""
