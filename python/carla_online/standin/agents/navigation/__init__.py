"""Route planning, control and the agents."""
