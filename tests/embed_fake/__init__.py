"""A fake of the services that have Cohere's Embed models."""
