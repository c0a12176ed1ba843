"""The rules about money, pure: no connection, no client, no clock."""
