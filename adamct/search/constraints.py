"""Constraints on the values of a sweep's keys."""

from collections.abc import Callable, Mapping
from typing import Any

Constraint = Callable[[Mapping[str, Any]], bool]
"""Whether values, by dotted keys, are allowed together."""


class Divides:
    """The constraint that one value divides another. The number of heads must divide the hidden size, for example.

    Args:
        divisor: the key of the divisor.
        number: the key of the number that it must divide.
    """

    def __init__(self, divisor: str, number: str):
        self.divisor = divisor
        self.number = number

    def __call__(self, values: Mapping[str, Any]) -> bool:
        """Return whether the divisor divides the number, or one of them is missing or not a whole number."""
        divisor, number = values.get(self.divisor), values.get(self.number)
        if not isinstance(divisor, int) or not isinstance(number, int):
            return True
        return divisor != 0 and number % divisor == 0
