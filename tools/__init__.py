"""What makes the course and measures the package, and is not installed: site/, benchmarks/, training/, lines.py."""
