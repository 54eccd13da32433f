"""Pictures of the admin for the documentation, taken in a real browser: `make photographs`."""
