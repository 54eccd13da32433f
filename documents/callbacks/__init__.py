"""Webhooks: what they say (`payload`), how they are signed (`signing`) and sent (`addresses`, `client`, `delivery`)."""
