"""The API asked whatever its OpenAPI document allows, and much that it does not (https://schemathesis.io)."""
