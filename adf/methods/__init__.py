"""Doubt about the weights: other ways to learn them. Each ends in a mixture of networks."""
