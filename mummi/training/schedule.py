"""When something is due that happens every so often."""


class Every:
    """Due a period after it was last done: in environment steps, or in seconds of a clock.

    Args:
        period: steps or seconds between two times; infinity for never.
        now: steps or seconds at which counting begins.
        aligned: due at multiples of the period, so that a run that is resumed keeps them.
    """

    def __init__(self, period: float | int, now: float | int, *, aligned: bool = False):
        self._period = period
        self._aligned = aligned
        self.done(now)

    def due(self, now: float | int) -> bool:
        """Whether it is time."""
        return now >= self._next

    def done(self, now: float | int) -> None:
        """Says that it has been done, from when on the next period counts."""
        begun = now // self._period * self._period if self._aligned else now
        self._next = begun + self._period
