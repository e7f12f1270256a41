"""The sans-IO core: values, state machines and policies. No I/O, no clock, no random source."""
