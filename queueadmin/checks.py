"""System checks (filled below by the broker's needs)."""
