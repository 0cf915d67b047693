"""The architectures of the zoo and their recipes, one module for each family."""
