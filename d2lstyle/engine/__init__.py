"""What makes the core fast and safe: checks of arguments, devices, files, networks, their preparation, the optimiser.

A caller's value goes through `checks`, a place to compute through `devices`, a file through `files`: each question has
one door.
"""
