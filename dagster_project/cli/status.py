"""The status."""
def status_lines(settings):
    return []
