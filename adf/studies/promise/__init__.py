"""What a variance is good for: does it keep what it promises?

flips     which pixels change their label when the noise is drawn anew
errors    whether pixels that are wrong are those that are unsure
report    both for some runs, with intervals
"""
