"""Every row is reached through here: the row, or NotFound, Deleted or Forbidden."""

from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import joinedload

from app.errors import Deleted, Forbidden, NotFound
from app.extensions import db
from app.models import Analysis, Annotation, Image, Membership, Principal, Project, Role, User, UserKey


def role_in(principal: Principal, project_id: UUID) -> Role | None:
    """What a person is in a project; None is a stranger. An admin is as good as an owner everywhere."""
    if principal.user is None:
        return None
    if principal.user.is_admin:
        return Role.OWNER
    membership = db.session.get(Membership, (project_id, principal.user.id))
    return Role(membership.role) if membership else None


def projects_of(principal: Principal) -> Select[Project]:
    """The projects a person may read, as a statement to narrow and order."""
    statement = select(Project)
    if principal.user is None or principal.user.is_admin:
        return statement
    return statement.join(Membership).where(Membership.user_id == principal.user.id)


def project_for(principal: Principal, project_id: UUID, role: Role = Role.VIEWER) -> Project:
    project = db.session.get(Project, project_id)
    if project is None:
        raise NotFound("There is no such project.")
    _require(principal, project.id, role)
    return project


def image_for(principal: Principal, image_id: UUID, role: Role = Role.VIEWER) -> Image:
    image = db.session.get(Image, image_id, options=[joinedload(Image.project)])
    if image is None:
        raise NotFound("There is no such image.")
    _require(principal, image.project_id, role)
    if image.deleted_at is not None:
        raise Deleted("This image has been deleted.")
    return image


def analysis_for(principal: Principal, analysis_id: UUID, role: Role = Role.VIEWER) -> Analysis:
    analysis = db.session.get(Analysis, analysis_id, options=[joinedload(Analysis.image)])
    if analysis is None:
        raise NotFound("There is no such analysis.")
    _require(principal, analysis.image.project_id, role)
    if analysis.image.deleted_at is not None:
        raise Deleted("The image of this analysis has been deleted.")
    return analysis


def annotation_for(principal: Principal, annotation_id: UUID) -> Annotation:
    annotation = db.session.get(Annotation, annotation_id)
    if annotation is None:
        raise NotFound("There is no such annotation.")
    analysis_for(principal, annotation.analysis_id)
    return annotation


def own_key_for(principal: Principal, key_id: str) -> UserKey:
    """A key is managed by its person alone; that another person's is there is told to nobody."""
    key = _key(key_id)
    if key is None or principal.user is None or key.user_id != principal.user.id:
        raise NotFound("You have no such key.")
    return key


def user_for(principal: Principal, user_id: UUID) -> User:
    """An account as admins manage it."""
    _require_admin(principal)
    user = db.session.get(User, user_id)
    if user is None:
        raise NotFound("There is no such account.")
    return user


def user_key_for(principal: Principal, user_id: UUID, key_id: str) -> UserKey:
    """A key of this account, for an admin."""
    user = user_for(principal, user_id)
    key = _key(key_id)
    if key is None or key.user_id != user.id:
        raise NotFound("There is no such key.")
    return key


def _key(key_id: str) -> UserKey | None:
    """By what an address says; PostgreSQL takes no NUL, not even to look for one."""
    return db.session.get(UserKey, key_id) if key_id.isascii() and key_id.isalnum() else None


def _require_admin(principal: Principal) -> None:
    if principal.user is None or not principal.user.is_admin:
        raise Forbidden("This takes an admin.")


def _require(principal: Principal, project_id: UUID, role: Role) -> None:
    """A valid signature authorises by itself; a person's key sent beside it must still be a member's."""
    if principal.kind == "system" or (principal.kind == "pipeline" and principal.user is None):
        return
    has = role_in(principal, project_id)
    needed = Role.VIEWER if principal.kind == "pipeline" else role
    if has is None or not has.includes(needed):
        raise Forbidden("You have no access to this." if has is None else f"This takes the role {needed}.")
