"""What makes the course and measures the package, and is not installed: site/, benchmarks/, magenta.py, lines.py."""
