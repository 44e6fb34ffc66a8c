"""Projects and their members."""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import contains_eager

from app.errors import Conflict, InvalidPayload, NotFound
from app.extensions import db
from app.models import Image, Membership, Principal, Project, Role, User
from app.services import audit
from app.services.locking import lock

LISTED = 500  # members of a project, or projects of a person, on one page


def create(name: str, description: str, *, by: Principal, owner: User | None = None) -> Project:
    """A new project of `owner`, or else of whoever made it."""
    name = _clean_name(name)
    project = Project(
        name=name, description=description.strip(), created_by_id=by.user.id if by.user else None
    )
    db.session.add(project)
    db.session.flush()
    audit.record(by, "project.created", project, after={"name": name}, project_id=project.id)
    first = owner or by.user
    if first:
        set_member(project, first, Role.OWNER, by=by)
    return project


def change(project: Project, name: str, description: str, *, by: Principal) -> None:
    """A new name and description; the audit trail keeps what changed."""
    wanted = {"name": _clean_name(name), "description": description.strip()}
    lock(project)
    changed = {field: text for field, text in wanted.items() if getattr(project, field) != text}
    if not changed:
        return
    before = {field: getattr(project, field) for field in changed}
    for field, text in changed.items():
        setattr(project, field, text)
    audit.record(by, "project.changed", project, before=before, after=changed, project_id=project.id)


def listing(readable: Select[Project], by: Principal) -> list[tuple[Project, Role]]:
    """The readable projects, newest first, each with that person's role."""
    rows = db.session.scalars(readable.order_by(Project.created_at.desc(), Project.id.desc())).all()
    roles = _roles(by)
    return [(project, roles.get(project.id, Role.OWNER)) for project in rows]


def page(text: str, *, skip: int, limit: int) -> tuple[Sequence[Project], int]:
    """All projects, for admins: newest first, `text` being part of the name, and how many match."""
    statement = select(Project)
    if text:
        statement = statement.where(Project.name.icontains(text, autoescape=True))
    total = db.session.scalar(select(func.count()).select_from(statement.subquery())) or 0
    ordered = statement.order_by(Project.created_at.desc(), Project.id.desc())
    return db.session.scalars(ordered.offset(skip).limit(limit)).all(), total


def names(ids: Collection[UUID] | None = None, *, limit: int | None = None) -> dict[UUID, str]:
    """The names of these projects, or of all, by name; the first `limit`."""
    statement = select(Project.id, Project.name).order_by(func.lower(Project.name), Project.id).limit(limit)
    if ids is not None:
        statement = statement.where(Project.id.in_(ids))
    return {row.id: row.name for row in db.session.execute(statement)}


def of_user(user: User) -> Sequence[Membership]:
    """What a person is a member of, by the name of the project; the first `LISTED`."""
    statement = select(Membership).join(Membership.project).where(Membership.user_id == user.id)
    ordered = statement.options(contains_eager(Membership.project)).order_by(Project.name, Project.id)
    return db.session.scalars(ordered.limit(LISTED)).all()


def _clean_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > 255:
        raise InvalidPayload(errors=[{"field": "name", "reason": "must have 1 to 255 characters"}])
    return name


def image_count(project: Project) -> int:
    statement = select(func.count()).where(Image.project_id == project.id, Image.deleted_at.is_(None))
    return db.session.scalar(statement) or 0


def members(project: Project, text: str = "") -> Sequence[Membership]:
    """By address, the first `LISTED`; `text` is part of the address or name."""
    statement = select(Membership).join(Membership.user).where(Membership.project_id == project.id)
    if text:
        found = (User.email.icontains(text, autoescape=True), User.name.icontains(text, autoescape=True))
        statement = statement.where(or_(*found))
    ordered = statement.options(contains_eager(Membership.user)).order_by(User.email)
    return db.session.scalars(ordered.limit(LISTED)).all()


def member_count(project: Project) -> int:
    statement = select(func.count()).where(Membership.project_id == project.id)
    return db.session.scalar(statement) or 0


def member(project: Project, user_id: UUID) -> Membership:
    found = db.session.get(Membership, (project.id, user_id))
    if found is None:
        raise NotFound("This person is not a member.")
    return found


def set_member(project: Project, user: User, role: Role, *, by: Principal) -> None:
    """Adds a member or changes the role of one. Raises Conflict if no owner would be left."""
    membership = _locked_member(project, user.id)
    before = membership.role if membership else None
    if before == role:
        return
    if membership is None:
        db.session.add(Membership(project_id=project.id, user_id=user.id, role=role.value))
    else:
        _keep_an_owner(project, membership)
        membership.role = role.value
    db.session.flush()
    was, becomes = {"user": user.email, "role": before}, {"user": user.email, "role": role.value}
    audit.record(by, "project.member_set", project, before=was, after=becomes, project_id=project.id)


def remove_member(project: Project, user_id: UUID, *, by: Principal) -> None:
    membership = _locked_member(project, user_id)
    if membership is None:
        raise NotFound("This person is not a member.")
    _keep_an_owner(project, membership)
    before = {"user": membership.user.email, "role": membership.role}
    db.session.delete(membership)
    audit.record(by, "project.member_removed", project, before=before, project_id=project.id)


def _locked_member(project: Project, user_id: UUID) -> Membership | None:
    """The membership as it is now. The project's row is locked first: no two changes of its members at once."""
    db.session.refresh(project, with_for_update=True)
    return db.session.get(Membership, (project.id, user_id), populate_existing=True)


def _keep_an_owner(project: Project, leaving: Membership) -> None:
    owners = select(func.count()).where(Membership.project_id == project.id, Membership.role == Role.OWNER)
    if leaving.role == Role.OWNER and db.session.scalar(owners) == 1:
        raise Conflict("A project needs at least one owner.")


def _roles(by: Principal) -> dict[UUID, Role]:
    if by.user is None or by.user.is_admin:
        return {}
    rows = db.session.execute(
        select(Membership.project_id, Membership.role).where(Membership.user_id == by.user.id)
    )
    return {project_id: Role(role) for project_id, role in rows}
