"""Grading a folder of submitted notebooks: `make grade SUBMISSIONS=folder`."""
