"""Whole tasks with recurra, from data to a stream: each folder has a README with its commands."""
