"""What makes the core fast and safe. Each question has one door: a caller's value goes through `checks`, a place to
compute through `devices`, a file through `files`."""
