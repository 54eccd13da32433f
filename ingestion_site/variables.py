"""One environment variable at a time: read, checked, and refused with its name and what is allowed."""

from urllib.parse import urlsplit

import environ

TRUE = ("true", "yes", "on", "1")
FALSE = ("false", "no", "off", "0")


class WrongSetting(Exception):
    """An environment variable has a value that the service cannot use."""

    def __init__(self, name: str, allowed: str, value: str | None = None) -> None:
        shown = f" (it is {value!r})" if value is not None else ""
        super().__init__(f"{name} must be {allowed}{shown}. Set it in the environment or in .env; see .env.example.")
        self.name = name


class Reader:
    """One method per kind of value; each raises WrongSetting with what is allowed."""

    def __init__(self, env: environ.Env) -> None:
        self._env = env
        self.names_read: set[str] = set()

    def text(self, name: str, default: str = "") -> str:
        self.names_read.add(name)
        return str(self._env.str(name, default=default)).strip()

    def integer(self, name: str, default: int, *, minimum: int, maximum: int) -> int:
        value = self.text(name)
        if not value:
            return default
        allowed = f"a whole number from {minimum} to {maximum}"
        try:
            number = int(value)
        except ValueError:
            raise WrongSetting(name, allowed, value) from None
        if not minimum <= number <= maximum:
            raise WrongSetting(name, allowed, value)
        return number

    def seconds(self, name: str, default: float, *, minimum: float, maximum: float) -> float:
        value = self.text(name)
        if not value:
            return default
        allowed = f"a number of seconds from {minimum:g} to {maximum:g}"
        try:
            number = float(value)
        except ValueError:
            raise WrongSetting(name, allowed, value) from None
        if not minimum <= number <= maximum:  # also false for "nan"
            raise WrongSetting(name, allowed, value)
        return number

    def boolean(self, name: str, default: bool) -> bool:
        value = self.text(name).lower()
        if not value:
            return default
        if value in TRUE:
            return True
        if value in FALSE:
            return False
        raise WrongSetting(name, "true or false", value)

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.text(name, default).upper() or default
        if value not in choices:
            raise WrongSetting(name, "one of " + ", ".join(choices), value)
        return value

    def names(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        value = self.text(name)
        return tuple(part.strip() for part in value.split(",") if part.strip()) if value else default

    def url(self, name: str, *, schemes: tuple[str, ...]) -> str:
        value = self.text(name)
        if not value:
            return ""
        allowed = "a URL that starts with " + " or ".join(f"{scheme}://" for scheme in schemes)
        try:
            parts = urlsplit(value)
            parts.port  # noqa: B018  # urlsplit checks the port only when it is asked for
        except ValueError:
            raise WrongSetting(name, allowed) from None  # the value may hold a password: it is not repeated
        if parts.scheme not in schemes or not (parts.netloc or parts.path.strip("/")):
            raise WrongSetting(name, allowed)
        return value
