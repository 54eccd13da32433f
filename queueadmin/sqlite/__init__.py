"""A Django database backend: SQLite for several busy processes."""
