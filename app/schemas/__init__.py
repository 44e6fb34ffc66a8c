"""What crosses the wire, in and out."""
