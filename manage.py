#!/usr/bin/env python
"""Django's command line, with options of ours that work for every command: `--data-dir DIR`, `--redis-url URL`."""

import os
import sys

SUPPORTED = ((3, 11), (3, 14))


def refuse_other_pythons() -> None:
    """Exit with one line on a Python that nobody has tested this with."""
    version = sys.version_info[:2]
    if not SUPPORTED[0] <= version <= SUPPORTED[1]:
        sys.exit(
            "This service needs Python 3.11 to 3.14; this is Python {}.{}. "
            "Run `make run PYTHON=python3.12` (or any of these versions).".format(*version)
        )


MOVED = {"--data-dir": ("DATA_DIR", "a directory"), "--redis-url": ("REDIS_URL", "a URL")}
"""Options that become variables, because settings are read before a command parses its arguments."""


def options_to_environment(arguments: list[str]) -> list[str]:
    """Move `--data-dir DIR` and `--redis-url URL` into the environment; the arguments that are left."""
    rest: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        option, separator, value = argument.partition("=")
        if option not in MOVED:
            rest.append(argument)
            continue
        variable, meant = MOVED[option]
        value = value if separator else next(remaining, "")
        if not value:
            sys.exit(f"{option} needs {meant}.")
        os.environ[variable] = value
    return rest


def main() -> None:
    refuse_other_pythons()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ingestion_site.settings")
    arguments = options_to_environment(sys.argv)
    if len(arguments) == 1 or arguments[1] == "help" or not {"--help", "-h"}.isdisjoint(arguments):
        sys.stdout.write(
            "Every command takes --data-dir DIR: where the service that it is about keeps everything; and --redis-url "
            "URL: its broker (better in REDIS_URL: whoever lists processes reads arguments).\n\n"
        )
    try:
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit("Django is not installed here. `make run` makes .venv; then use .venv/bin/python manage.py")
    execute_from_command_line(arguments)


if __name__ == "__main__":
    main()
