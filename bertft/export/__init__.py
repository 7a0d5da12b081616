"""`bertft export`: a trained model to a graph that runs without torch, by the fastest engine that keeps its answers."""
