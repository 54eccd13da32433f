"""What each fault does to the world. A strike returns when the world is whole again."""
