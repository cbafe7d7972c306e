"""Networks: what they are made of, and the Brian2 objects built from that."""
