"""Brian2's objects as neurons, networks and inputs; they are neither run nor changed."""
