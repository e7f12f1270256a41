"""Who a client of the front end is, and what it may do."""
