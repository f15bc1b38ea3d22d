"""Push-T: a pusher brings a T-shaped block into place."""
