"""A policy for robots elsewhere: messages, conversations, and the server."""
