"""A whole class folder and its stylised copy, on this computer's cores or on a Ray cluster.

A folder -> a job for each picture to make -> tiles of jobs, each painted by one worker -> PNG files and a manifest.
"""

from .running import FolderResult, stylize_folder

__all__ = ["FolderResult", "stylize_folder"]
