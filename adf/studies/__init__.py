"""Questions about the library: is it right, where does it lose, which system is better?

Only the command line and the lessons import them.
"""
