"""Run a whole plan: stages, outputs, manifest."""
