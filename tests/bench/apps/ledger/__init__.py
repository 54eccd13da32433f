"""This service, with its own settings, plus two actors that do nothing."""
