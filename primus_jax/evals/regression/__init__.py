"""A number of every window, predicted from frozen features, on people left out."""
