"""A study of siamese convolutional networks for face verification on Labeled Faces in the Wild."""

__version__ = "0.2.0"
