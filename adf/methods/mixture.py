"""Several networks that fit the data, and what they say together."""

from ..inference.pooled import predicted


class Mixture:
    """Segmenters of one architecture, all equally likely; `adf.predict` takes it like one of them.

    Means are of the members' probabilities; of mean logits they would not be the mixture's. Its
    class_std and mutual_information are doubt about the weights alone. A deterministic network's
    class_std is of [class = k], all that is unsure: both rank pixels, but their sizes do not
    compare. Raises ValueError without members.
    """

    def __init__(self, members):
        self.members = list(members)
        if not self.members:
            raise ValueError("Mixture expects one segmenter or more, got none")
        self.network = self.members[0].network  # all have its sizes, and its normalisation
        self.normalised = self.members[0].normalised
        self.input = self.members[0].input
        self.noise_var = self.members[0].noise_var

    def parameters(self):
        return [p for member in self.members for p in member.parameters()]

    def predict(self, x, crop=()):
        """The Prediction for an input x, or for the slices `crop` of it, as of a Segmenter."""
        return predicted(member.predict(x, crop).probabilities for member in self.members)
