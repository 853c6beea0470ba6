"""All that touches the disk: strangers' images and tensors, checkpoints, tables, atomic writes."""
