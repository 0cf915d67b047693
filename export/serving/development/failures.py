"""The errors that the development server answers with."""

__all__ = ["Failure", "late"]

_STATUS = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "RESOURCE_EXHAUSTED": 503,
    "DEADLINE_EXCEEDED": 504,
}
# The characters that are kept of a message. Longer ones quote a request, whose ends suffice.
_BEGINNING, _END = 160, 80


class Failure(Exception):
    """An error that a client is told: a canonical code, a short message and HTTP's status."""

    def __init__(self, code: str, message: str, status: int | None = None):
        if len(message) > _BEGINNING + _END + 3:
            message = f"{message[:_BEGINNING]} … {message[-_END:]}"
        super().__init__(message)
        self.code, self.status = code, status or _STATUS.get(code, 500)


def late() -> Failure:
    """Returns the error of a request whose time is up."""
    return Failure("DEADLINE_EXCEEDED", "The request's time is up.")
