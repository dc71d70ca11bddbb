"""What can go wrong while publishing; every message says which version keeps serving."""


class PublishError(RuntimeError):
    """Nothing was published. Readers still see the version before."""


class PublishRefused(PublishError):
    """The warehouse is not fit to be published; trying again changes nothing."""


class PublishFailed(PublishError):
    """Writing or checking the copy failed (disk, memory, input or output); trying again may help."""
