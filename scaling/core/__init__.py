"""What a law is made of: declarations, and what follows from them."""
