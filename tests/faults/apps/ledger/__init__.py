"""This service, with its own settings, plus actors that keep an effect log."""
