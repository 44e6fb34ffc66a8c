"""What a person waits for: the image page in a real browser, with few annotations and with very many."""
