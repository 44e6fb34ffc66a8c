"""How a request that only reads lets go of the database."""

from app.extensions import db


def release() -> None:
    """Ends the transaction, so that nothing is held while a storage or a picture is waited for.

    Rows keep what was read of them; what is asked next sees what others have done meanwhile.
    """
    session = db.session()
    session.expire_on_commit = False
    session.commit()
    session.expire_on_commit = True
