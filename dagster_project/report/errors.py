"""What can keep a page from being written."""


class NothingPublished(Exception):
    """There is no published file to read; the text says what writes it."""


class ReportNotWritten(Exception):
    """The page could not be made or put in its place; the published file is untouched by it."""
