#!/usr/bin/env python
"""Django's command line, with one option of ours: `--data-dir DIR` works for every command."""

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


def data_dir_to_environment(arguments: list[str]) -> list[str]:
    """Move `--data-dir DIR` into DATA_DIR: settings are read before a command parses its arguments."""
    rest: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--data-dir":
            value = next(remaining, "")
        elif argument.startswith("--data-dir="):
            value = argument.partition("=")[2]
        else:
            rest.append(argument)
            continue
        if not value:
            sys.exit("--data-dir needs a directory.")
        os.environ["DATA_DIR"] = value
    return rest


def main() -> None:
    refuse_other_pythons()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ingestion_site.settings")
    arguments = data_dir_to_environment(sys.argv)
    if len(arguments) == 1 or arguments[1] == "help" or not {"--help", "-h"}.isdisjoint(arguments):
        sys.stdout.write("Every command takes --data-dir DIR: where the service that it is about keeps everything.\n\n")
    try:
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit("Django is not installed here. `make run` makes .venv; then use .venv/bin/python manage.py")
    execute_from_command_line(arguments)


if __name__ == "__main__":
    main()
