"""What can go wrong while publishing; every message says which version keeps serving."""


class PublishError(RuntimeError):
    """Nothing was published. Readers still see the version before."""


class PublishRefused(PublishError):
    """The warehouse, or the target, is not fit for it; trying again changes nothing."""


class PublishFailed(PublishError):
    """Writing or checking the copy failed (disk, memory, network, a busy server); trying again may help."""
