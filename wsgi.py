"""What gunicorn and `flask` start."""

from app import create_app
from app.config import WrongSettings

try:
    app = create_app()
except WrongSettings as wrong:  # its message is for whoever runs this, a traceback is not
    raise SystemExit(str(wrong)) from None
