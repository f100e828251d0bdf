"""Solutions of exercises whose code has no other home in the package, one file a chapter."""
