"""A network's step: its parts, the blocks of each, and the schedule that orders them."""
