"""Estimators: they know numbers, not studies."""
