"""One module a version; each names the one before it. What is released is never changed."""
