"""Where plans meet the world: drivers, flights, heartbeats and background work; it performs, and decides nothing."""
