"""Loupe while things around it fail: real servers, stopped and started under load."""

from tests.support.database import KIND

# stopping the database means PostgreSQL; SQLite has no server that could be away
collect_ignore = [] if KIND == "postgresql" else ["test_lost_database.py"]
