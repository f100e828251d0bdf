from .records import Failure
def explain(recorder, error, module):
    f = recorder.failed
    return Failure("error", f["name"] if f else "?", "", "", str(error), "", "", repr(error))
def explain_constructor(error):
    return Failure("error", "construction", "", "", str(error), "", "", repr(error))
