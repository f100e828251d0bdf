"""Find where branches fork and where they meet again: the skip connections of a graph."""

from __future__ import annotations

from collections.abc import Sequence

from .records import Branch, Merge, Operation, Value

_WITH_WEIGHTS = ("conv", "linear")


class Ancestry:
    """For every value, the nearest earlier value through which all its paths from the input run.

    That is the immediate dominator of the graph.  Values are numbered in the order in which they
    were made, so that one pass suffices (Cooper, Harvey and Kennedy 2001).
    """

    def __init__(self, values: Sequence[Value], operations: Sequence[Operation]) -> None:
        self._values = values
        self._operations = operations
        self._above: list[int | None] = []
        self._from_input: list[bool] = []
        for value in values:
            sources = self._sources(value)
            self._from_input.append(value.producer is None or bool(sources))
            self._above.append(self.fork(sources))

    def _sources(self, value: Value) -> list[int]:
        if value.producer is None:
            return []
        return self.data(self._operations[value.producer].inputs)

    def data(self, inputs: Sequence[int]) -> list[int]:
        """Return those inputs that depend on the network's input, each once."""
        return [i for i in dict.fromkeys(inputs) if self._from_input[i]]

    def fork(self, inputs: Sequence[int]) -> int | None:
        """Return the nearest value on which all of these depend in every way."""
        if not inputs:
            return None
        common: int | None = inputs[0]
        for i in inputs[1:]:
            other: int | None = i
            while common != other:
                if common is None or other is None:
                    return None
                if common > other:  # the later one cannot be above the earlier
                    common = self._above[common]
                else:
                    other = self._above[other]
        return common

    def branch(self, value: int, fork: int | None) -> Branch:
        """Return the operations between a fork and a value."""
        found: set[int] = set()
        waiting = [value]
        while waiting:
            current = self._values[waiting.pop()]
            if current.id == fork or current.producer is None or current.producer in found:
                continue
            found.add(current.producer)
            waiting.extend(self._operations[current.producer].inputs)
        end = self._values[value]
        return Branch(value, end.shape, tuple(sorted(found)), end.field)

    def merge(self, operation: int, name: str, inputs: Sequence[int]) -> Merge:
        """Return the fork and the branches of an operation with several inputs."""
        inputs = self.data(inputs)
        fork = self.fork(inputs)
        branches = tuple(self.branch(i, fork) for i in inputs)
        return Merge(operation, name, fork, branches, self._shortcut(branches))

    def _shortcut(self, branches: Sequence[Branch]) -> int | None:
        """Return the branch that is the shortcut: at most one layer with weights, and the fewest."""
        layers = [
            sum(self._operations[i].kind in _WITH_WEIGHTS for i in branch.operations)
            for branch in branches
        ]
        least = min(range(len(branches)), key=lambda i: (layers[i], len(branches[i].operations)))
        if len(branches) != 2 or layers[least] > 1:
            return None
        other = branches[1 - least]
        size = (layers[least], len(branches[least].operations))
        return least if size < (layers[1 - least], len(other.operations)) else None


def merges(values: Sequence[Value], operations: Sequence[Operation]) -> list[Merge]:
    """Return every place where branches meet, in the order of execution."""
    ancestry = Ancestry(values, operations)
    return [
        ancestry.merge(operation.index, operation.name, operation.inputs)
        for operation in operations
        if len(operation.inputs) > 1 and len(ancestry.data(operation.inputs)) > 1
    ]
