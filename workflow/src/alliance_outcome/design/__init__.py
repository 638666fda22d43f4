"""Levels, lags and the rows that each model is fitted to."""
