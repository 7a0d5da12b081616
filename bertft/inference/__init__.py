"""The one inference path: training-time evaluation, `eval` and `predict` all go through `engine.Engine`."""
