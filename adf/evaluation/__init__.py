"""How good is a segmentation, and does its uncertainty know where it is wrong?"""
