"""Where the texts of a hostile world are shown: the pages, and what each of them should say."""

from collections.abc import Sequence
from urllib.parse import quote

from app.admin.paging import PAGE_SIZE
from app.services import accounts
from tests.factories import some_id
from tests.support.hostile import LONGEST_UNIT, Hostile
from tests.support.site import PROXY_SECRET
from tests.support.stops import Stop, submit
from tests.support.twins import Reading

# what a person does to one text at a time, in turns
Walk = Sequence[tuple[Stop, Sequence[str]]]


def lists(world: Hostile, reading: Reading) -> None:
    """The pages that show many texts of a kind, each by itself."""
    look = reading.look
    look(Stop("projects", "/"), *world.strings)
    look(Stop("members", f"/projects/{world.crowd}/members"), *world.strings)
    for page in range(1, -(-len(world.names) // 60) + 1):
        on_it = world.names[::-1][(page - 1) * 60 - 1 : page * 60 - 1] if page > 1 else world.names[::-1][:59]
        look(Stop("gallery", f"/projects/{world.gallery}?page={page}"), *on_it)
    look(Stop("many", f"/images/{world.busy}"), *world.strings)
    image_id, analysis_id = world.drawn
    for page in (1, 2, 3):
        query = f"analysis={analysis_id}&bitmaps=0&page={page}"
        units = [text[:LONGEST_UNIT] for text in world.strings]
        look(Stop("drawn", f"/images/{image_id}?{query}"), *world.strings, *units)


def admin_lists(world: Hostile, reading: Reading) -> None:
    """The same for admins, who see everything of everybody; the first two pages of a list are opened."""
    sent = quote(f"@{world.me.email}")
    tables = [("admin-users", f"/admin/users?q={sent}&page=", world.pages_of_people())]
    tables += [("admin-projects", "/admin/projects?page=", world.pages_of_projects())]
    tables += [("pipeline-keys", "/admin/pipeline-keys?page=", world.pages_of_workers())]
    for name, address, pages in tables:
        for page, texts in enumerate(pages, 1):
            (reading.look if page < 3 else reading.read)(Stop(name, f"{address}{page}", "admin"), *texts)
    for n, (day, texts) in enumerate(world.days_of_events()):
        for whose in ("kind=pipeline", f"kind=user&actor={world.changing.id}"):
            stop = Stop("audit", f"/admin/audit?from={day}&to={day}&{whose}", "admin")
            (reading.read if n else reading.look)(stop, *texts)
    common = next(text for text in ("<", "x") if sum(text in name for name in world.strings) > 100)
    for name, address in (("users", "users?q"), ("projects", "projects?q"), ("audit", "audit?who")):
        reading.look(Stop(f"admin-{name}-next", f"/admin/{address}={common}", "admin"), f"={quote(common)}&")
    assert len(world.lines) <= PAGE_SIZE
    reading.look(Stop("webhooks", "/admin/webhooks", "admin"), *world.strings, *world.lines)
    reading.look(Stop("exports", "/admin/exports", "admin"), *world.offered_projects(), *world.lines)
    words = [word.strip() for text in world.strings for word in text.split(",") if word.strip()]
    region = " · ".join(world.strings)
    # of people's texts it has only the menu, which says who is signed in
    reading.look(Stop("reference", f"/reference?q={quote(world.lines[0])}"), world.lines[0])
    reading.look(Stop("settings", "/admin/settings", "admin"), ", ".join(["*", *words]), region)


def alone(world: Hostile, number: int) -> Walk:
    """The pages that show one text of a kind: titles, headings, facts, and what was searched for."""
    project_id, image_id, analysis_id = world.alone[number]
    bundle, line = world.bundles[number], world.lines[number]
    sent = quote(line)
    query = f"q={sent}&model={sent}&state={sent}&sort={sent}&page={sent}&analysis={sent}"
    return [
        (Stop("project", f"/projects/{project_id}"), [line]),
        (Stop("image", f"/images/{image_id}"), [*bundle, line]),
        (Stop("project-members", f"/projects/{project_id}/members"), [line]),
        (Stop("search", f"/projects/{project_id}?{query}"), [line]),
        (Stop("analysis", f"/analyses/{analysis_id}"), [*bundle, line]),
        (Stop("groups", f"/projects/{project_id}/groups"), [line]),
        *(
            (Stop(f"group{action}", f"/projects/{project_id}/group{action}?group_id={sent}"), [line])
            for action in ("", "/cancel", "/export")
        ),
        (Stop("panel", f"/images/{image_id}/panel?analysis={analysis_id}&version={sent}"), bundle),
        # an address with a backslash leads nowhere after signing in, so it is not kept
        (Stop("sign-in", f"/sign-in?next=/{sent}", ""), [line] if "\\" not in line else []),
    ]


def admin_alone(world: Hostile, number: int) -> Walk:
    """A person's own page and those of the admins, where somebody or something has this text for everything."""
    project_id, _, _ = world.alone[number]
    line, who = world.lines[number], world.become(number)
    sent, short, other = quote(line), quote(world.bundles[number][0]), quote(f"{line}zzz")
    asked = "model", "project", "status", "created_from", "created_to", "what", "format"
    wrong = "&".join(f"{name}={sent}" for name in asked)
    narrow = f"who={other}" + "".join(
        f"&{it}={sent}" for it in ("action", "subject_type", "subject", "request")
    )
    narrow += "".join(
        f"&{name}={short}" for name in ("kind", "actor", "project", "from", "to", "older", "newer")
    )
    return [
        (Stop("deleted", f"/projects/{project_id}/deleted", "admin"), [line]),
        (Stop("account", "/account", "changing"), who),
        (Stop("admin-user", f"/admin/users/{world.changing.id}", "admin"), [*who, line]),
        (Stop("admin-project", f"/admin/projects/{project_id}", "admin"), who[:2]),
        (Stop("pipeline-key", f"/admin/pipeline-keys/{world.workers[number]}", "admin"), [line]),
        (Stop("users-none", f"/admin/users?q={other}&state={sent}&page={sent}", "admin"), [f"{line}zzz"]),
        (Stop("projects-none", f"/admin/projects?q={other}&page={sent}", "admin"), [f"{line}zzz"]),
        (Stop("audit-none", f"/admin/audit?{narrow}", "admin"), [line]),
        (
            Stop("exports-counted", f"/admin/exports?count=1&project={project_id}&model={sent}", "admin"),
            [line],
        ),
        (Stop("exports-wrong", f"/admin/exports?count=1&{wrong}", "admin", status=422), [line]),
        (Stop("exports-none", f"/admin/exports?count=1&group={sent}&columns={sent}", "admin"), [line]),
    ]


def faults(world: Hostile, number: int) -> Walk:
    """The pages of errors, for somebody who has this text for name and address."""
    who = world.become(number)[:2]
    return [
        (Stop("error-403", "/admin/users", "changing", status=403), who),
        (Stop("error-404", f"/images/{some_id()}", "changing", status=404), who),
        (Stop("error-410", f"/images/{world.deleted}", "changing", status=410), who),
    ]


def too_large(world: Hostile, reading: Reading) -> None:
    """It is refused before anybody looks whose it is."""
    sent = submit("form[action='/account']", name=" · ".join(world.lines) + "x" * 300_000)
    reading.look(Stop("error-413", "/account", "changing", status=413, act=sent))


def tell(world: Hostile, reading: Reading, number: int) -> None:
    """What is told of a text after a form was taken, on the page that comes next."""
    line, email = world.lines[number], accounts.normalised(world.lines[number])
    made = {"name": line, "description": line, "owner": world.newcomer.email}
    state = Stop("told-state", f"/admin/users/{world.changing.id}/state", "admin")
    key = Stop("told-key", f"/account/keys/{world.keys[0]}/revoke", "changing")
    reading.read(state, f"{email} is enabled.", state="enabled")
    reading.read(Stop("told-project", "/admin/projects/new", "admin"), f"“{line}” has been made.", **made)
    reading.read(key, f"“{world.bundles[number][0]}” has been revoked.", revoke="yes")
    worker = Stop("told-pipeline-key", f"/admin/pipeline-keys/{world.workers[number]}/revoke", "admin")
    reading.read(worker, f"“{line}” has been revoked.", revoke="yes")
    reading.finish(one_by_one=True)


def refused(world: Hostile, reading: Reading, lines: list[str]) -> None:
    """What the server refuses, shown again beside the reason."""
    project_id = world.alone[0][0]
    create, add = "form[action='/projects']", "#add-title + form"
    members = f"/projects/{project_id}/members"
    for n in range(0, len(lines), 8):
        much = " · ".join(lines[n : n + 8]) + "x" * 300
        both = {"name": much, "description": much}
        if n == 0:
            reading.look(Stop("project-refused", "/", "new", "", 422, submit(create, **both)), much)
            reading.look(Stop("member-refused", members, "me", "", 422, submit(add, email=much)), much)
        reading.read(Stop("project-refused", "/projects", "new", status=422), much, **both)
        reading.read(Stop("member-refused", members, "me", status=422), much, email=much)
    reading.look(
        Stop("sign-in-refused", "/sign-in", "", "", 401, submit("form", email=lines[0], password="x")),
        lines[0],
    )
    for line in lines[1:]:
        reading.read(Stop("sign-in-refused", "/sign-in", "", status=401), line, email=line, password="x")
    sent = submit("#drop", dict.fromkeys(world.strings, 3))
    # a form writes a quote as %22, which is read as one; a backslash is taken for an escape or for the end of a folder
    told = [name.replace("%22", '"') for name in world.strings if "\\" not in name]
    reading.look(Stop("upload-refused", f"/projects/{project_id}", "me", "", 422, sent), *told)


def admin_refused(world: Hostile, reading: Reading, lines: list[str]) -> None:
    """The same in the forms of the account and of the admin pages; and what a proxy says that is not believed."""
    reading.look(Stop("account", "/account", "changing"))
    world.become(0)
    key, project = world.keys[0], f"/admin/projects/{world.alone[0][0]}"
    pipelines, worker = "/admin/pipeline-keys", f"/admin/pipeline-keys/{world.kept_worker}"
    for n in range(0, len(lines), 8):
        much = " · ".join(lines[n : n + 8]) + "x" * 300
        both = {"name": much, "description": much}
        export = dict.fromkeys(("project", "model", "status", "created_from", "created_to", "what"), much)
        reading.read(Stop("name-refused", "/account", "changing", status=422), much, name=much)
        reading.read(
            Stop("key-refused", "/account/keys", "changing", status=422), much, name=much, key_id=much
        )
        user = {"email": much, "name": much, "role": much}
        reading.read(Stop("user-refused", "/admin/users/new", "admin", status=422), much, **user)
        reading.read(
            Stop("new-refused", "/admin/projects/new", "admin", status=422), much, **both, owner=much
        )
        reading.read(Stop("change-refused", project, "admin", status=422), much, **both)
        sent = dict.fromkeys(("name", "projects", "min_scheme", "expires_at", "key_id"), much)
        reading.read(Stop("worker-refused", f"{pipelines}/new", "admin", status=422), much, **sent)
        reading.read(Stop("worker-unchanged", worker, "admin", status=422), much, **sent)
        unturned = Stop("worker-unturned", f"{worker}/rotate", "admin", status=422)
        reading.read(unturned, world.lines[0], overlap=much, key_id=much)
        reading.read(Stop("download-refused", "/admin/exports/download", "admin", status=422), much, **export)
    world.slow_down([f"{line}?" for line in lines])
    for line in lines:
        reading.read(Stop("key-taken", "/account/keys", "changing", status=409), line, name=line, key_id=key)
        user = {"email": world.me.email, "name": line}
        reading.read(Stop("user-taken", "/admin/users/new", "admin", status=409), line, **user)
        asked = {"name": line, "owner": f"{line}?", "description": line}
        reading.read(Stop("owner-unknown", "/admin/projects/new", "admin", status=422), f"{line}?", **asked)
        slow = Stop("sign-in-slow", "/sign-in", "", status=429)
        reading.read(slow, f"{line}?", "Too many attempts", email=f"{line}?", password="x")
        reading.read(
            Stop("proxy-refused", "/", "", status=403), f"account for {line}?.", headers=by_proxy(f"{line}?")
        )
    reading.finish()
    for number in range(0, len(lines), 2):
        who = world.become(number)
        reading.read(Stop("account-by-proxy", "/account", ""), f"as {who[1]}", *who, headers=by_proxy(who[1]))
        reading.finish()


def by_proxy(email: str) -> dict[str, str]:
    """As a proxy sends it; a script names the bytes of a header by the letters of Latin-1."""
    return {"X-User-Email": email.encode().decode("latin-1"), "X-Proxy-Secret": PROXY_SECRET}
