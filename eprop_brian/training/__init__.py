"""Training: sessions, the trainer, runs in folders, recorded reference runs."""
