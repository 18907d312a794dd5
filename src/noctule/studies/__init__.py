"""Train one model per corruption, measure every one on every corruption, score the overlap."""
