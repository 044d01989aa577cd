"""What values of a sweep's keys cannot be had together."""

from collections.abc import Callable, Mapping
from typing import Any

Constraint = Callable[[Mapping[str, Any]], bool]
"""Whether some values, by their keys, can be had together."""


class Divides:
    """One value divides another, such as the heads the hidden size.

    Args:
        divisor: the key of the one.
        number: the key of the other.
    """

    def __init__(self, divisor: str, number: str):
        self.divisor = divisor
        self.number = number

    def __call__(self, values: Mapping[str, Any]) -> bool:
        """Allow any value where the other is not known, or is no whole number."""
        divisor, number = values.get(self.divisor), values.get(self.number)
        if not isinstance(divisor, int) or not isinstance(number, int):
            return True
        return divisor != 0 and number % divisor == 0
