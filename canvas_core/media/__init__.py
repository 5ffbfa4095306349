"""Files in and out: videos, their sound, and pictures."""
