"""From images to predictions, and from predictions to files."""
