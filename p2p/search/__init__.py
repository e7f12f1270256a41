"""Search over what is hosted: an extension of the front end, found by its entry point; nothing imports it."""
