"""Studies: train one network per corruption, measure each under each, score their overlap."""
