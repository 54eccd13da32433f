"""`python -m tests.photographs`: the pictures of docs/, taken of the running service in a real browser."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from tests.photographs import pages, storm
from tests.photographs.camera import HOW_TO_GET_IT
from tests.photographs.stage import USER, Stage
from tests.servers import PROJECT_DIR

PARTS = ("pages", "storm")


def main() -> int:
    options = _options()
    if shutil.which("chromium") is None:
        sys.stderr.write(f"{HOW_TO_GET_IT}\n")
        return 1
    if "pages" in options.only:
        pages.photograph(options.out)
    if "storm" in options.only:
        _storm(options.out)
    for picture in sorted(options.out.glob("*.png")):
        sys.stdout.write(f"{picture} ({picture.stat().st_size // 1024} KiB)\n")
    return 0


def _storm(out: Path) -> None:
    with Stage() as stage:
        stage.run("manage.py", "migrate", "--verbosity", "0")
        stage.run("manage.py", "createsuperuser", "--no-input", "--username", USER, "--email", "root@example.com")
        # This process sends the jobs. Playwright keeps an event loop in its thread, which Django takes for async code.
        os.environ.update(stage.variables, DJANGO_ALLOW_ASYNC_UNSAFE="1")
        import django

        django.setup()
        storm.walk(stage, out)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.photographs", description=__doc__)
    parser.add_argument("--out", type=Path, default=PROJECT_DIR / "docs" / "images", help="default: docs/images")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="default: both")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
