"""Side by side with peers: each module prints a table of ratios measured in one run."""
