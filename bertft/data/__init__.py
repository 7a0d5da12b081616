"""Files in, `Row`s out; predictions in, lines out. One module per format, no model code.

`formats.read` opens a file, works out its format and yields rows; each format's module also writes it.
"""
