"""The picture of the report in the README: `make screenshot`, after `make run`."""

import sys
import tempfile
from pathlib import Path

from dagster_project.settings import REPOSITORY, load_settings
from tests.report.chromium import find_chromium, open_browser

FILE = REPOSITORY / "docs" / "images" / "report.png"
WIDTH, HEIGHT = 1180, 1180


def main() -> int:
    """Write the picture; says what is missing where it cannot."""
    program, page = find_chromium(), load_settings().paths.published_dir / "report.html"
    if program is None or not page.exists():
        missing = (
            "chromium (apt-get install -y chromium)" if program is None else f"{page}: make run writes it"
        )
        sys.stderr.write(f"There is no {missing}.\n")
        return 1
    with tempfile.TemporaryDirectory() as profile, open_browser(program, Path(profile)) as browser:
        browser.screen(WIDTH, HEIGHT)
        browser.open(page.as_uri())
        FILE.parent.mkdir(parents=True, exist_ok=True)
        browser.picture(FILE, x=0, y=0, width=WIDTH, height=HEIGHT)
    sys.stdout.write(f"{FILE}: {FILE.stat().st_size / 1000:,.0f} kB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
