"""The method itself: numpy only, knowing no framework."""
