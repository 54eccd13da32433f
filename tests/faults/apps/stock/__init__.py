"""Stock Dramatiq with django_dramatiq, as its README sets it up, and the same actors."""
