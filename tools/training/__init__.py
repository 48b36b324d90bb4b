"""How the weights that come with the package were trained."""
