"""Speed and memory of this project beside what users would pick instead, on identical networks."""
