"""The course as it is read offline: chapters run and made into pages and decks, and blank exercise sheets.

A notebook -> its executed copy (`course`) -> a page and an index (`pages`), a deck of slides (`decks`).
"""
