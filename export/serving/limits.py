"""The limits of what clients may ask of a server."""

import dataclasses

__all__ = ["Limits"]


@dataclasses.dataclass(frozen=True)
class Limits:
    """The limits of what clients may ask for.

    Attributes:
        timeout: float. Seconds for one request, from its first line to its answer. Defaults to
            `30.0`.
        max_bytes: int. The bytes of the largest request body. Defaults to 64 MiB.
        max_pending: int. Requests that may wait for one model; more are answered with 429, or
            RESOURCE_EXHAUSTED. Defaults to `64`.
        max_connections: int. Further ones are answered with 503. Defaults to `256`.
        max_total_bytes: int or `None`. The bytes of all requests and answers that are worked on
            together; further requests are answered with 429. Defaults to `None`: four times
            `max_bytes`.
    """

    timeout: float = 30.0
    max_bytes: int = 64 << 20
    max_pending: int = 64
    max_connections: int = 256
    max_total_bytes: int | None = None
