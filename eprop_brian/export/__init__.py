"""Networks to carry away: into other tools, and as programs of their own."""
