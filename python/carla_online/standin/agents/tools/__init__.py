"""Small functions and result types that the agents share with scripts."""
