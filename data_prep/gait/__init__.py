"""Sensors on both feet to strides and their times."""
