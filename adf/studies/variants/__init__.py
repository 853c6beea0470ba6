"""`adf variants RUN`: every way to true variances that was tried, good or bad, in one table."""
