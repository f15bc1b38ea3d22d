"""Language-conditioned tasks of LIBERO."""
