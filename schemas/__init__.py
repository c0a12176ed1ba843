"""The contract between producers, the worker and those who ask: values and rules, no I/O."""
