"""The one error that training can raise on purpose."""


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message is a sentence that says why and what to do."""
