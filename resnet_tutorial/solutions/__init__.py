"""Solutions of exercises whose code the package does not have, or writes in another way; one file a chapter."""
