"""The entries of the catalog, one module a kind."""
