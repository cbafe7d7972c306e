"""What happens in a step, in order, written once and printed in every device's language."""
