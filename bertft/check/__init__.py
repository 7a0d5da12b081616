"""What is wrong with data, or a recipe, before an hour is spent on it: examples in, findings out. numpy at most."""
