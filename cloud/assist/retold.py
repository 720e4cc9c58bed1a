"""One failure, told to several who wait for it."""

from lifelong.errors import LifelongError


def retold(error: BaseException) -> BaseException:
    """An error of its own for each who is told.

    A traceback is written into the error that is raised, with every frame's arrays; one error that
    is raised again and again would keep them all.
    """
    if not isinstance(error, LifelongError):
        return error
    told = type(error)(*error.args)
    told.retryable = error.retryable
    return told
