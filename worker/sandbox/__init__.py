"""A stateful Stripe on loopback for the official SDK; it imports nothing of what it tests."""
