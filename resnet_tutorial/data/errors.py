"""The one error that loading images can raise."""


class DataError(RuntimeError):
    """The images are missing, damaged or out of reach; the message is a sentence to act on."""
