"""The one place that touches `AutoModel*` and `AutoTokenizer`: a name or directory in, a tokenizer and a model out."""
