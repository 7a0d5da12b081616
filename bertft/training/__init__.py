"""Training: labelled files and a recipe in, a bundle out."""
