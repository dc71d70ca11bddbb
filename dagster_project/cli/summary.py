"""The summary."""
def summary_lines(settings):
    return []
