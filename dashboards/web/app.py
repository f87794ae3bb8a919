"""The page: where cases and slides stand, live, for whoever sits at this machine."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final

from fastapi import FastAPI, Request
from fastapi import Path as InPath
from fastapi import Query as InQuery
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException

from connectors.settings import Settings
from dashboards.doctor.wires import exposed
from dashboards.web import questions
from dashboards.web.guard import Guard
from dashboards.web.health import readiness
from dashboards.web.live import ChangeWatch
from dashboards.web.rendering import Renderer
from flows.pictures import LABEL, THUMBNAIL
from models.database import Database

_FOLDER: Final = Path(__file__).parent
_PICTURES: Final = {THUMBNAIL: "image/jpeg", LABEL: "image/png"}
# A thumbnail has some hundred kilobytes: anything far beyond is none of ours.
_LARGEST_PICTURE_BYTES: Final = 16 << 20

# FastAPI's own would tell addresses and the words of errors, which may quote a patient; ours has a table.
_NO_TELEMETRY: Final[TelemetryConfig] = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}

OpaqueId = Annotated[str, InPath(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
SiteOrAll = Annotated[str, InQuery(pattern=r"^[a-z0-9-]{0,63}$")]
StateOrAll = Annotated[str, InQuery(max_length=32)]

_SAID: Final = {
    404: "There is nothing here. The address may come from other books than these: begin at the front page.",
    405: "This page only shows. What is to be changed, the command 'coverslip' changes.",
    422: "The address asks for something that this page does not know: begin at the front page.",
}


def create_app(database: Database, settings: Settings, pictures: Path) -> FastAPI:
    """Return the page's application.

    ``app.state.watch.close()`` ends the open event streams, which would hold up a server that wants to stop.

    Parameters
    ----------
    pictures
        The folder that holds a folder of pictures for each scan, named by its opaque id.
    """
    watch = ChangeWatch(database, settings.work.heartbeat_grace)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        watch.close()

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan, telemetry=_NO_TELEMETRY)
    app.state.watch = watch
    renderer = Renderer(database, settings.work.heartbeat_grace, exposed(settings))

    def refused(_request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 422
        return HTMLResponse(renderer.trouble(_SAID.get(status, "The page can't do this.")), status)

    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, refused)
    app.add_middleware(Guard, trouble=renderer.trouble)
    _add_pages(app, renderer, settings)
    _add_pictures(app, database, pictures)
    _add_machinery(app, database, settings, watch)
    app.mount("/static", StaticFiles(directory=_FOLDER / "static"), name="static")
    return app


def _add_pages(app: FastAPI, renderer: Renderer, settings: Settings) -> None:
    front_question = questions.Front(settings)

    @app.get("/", response_class=HTMLResponse)
    def front() -> str:
        return renderer.page("front.html", front_question.ask)

    @app.get("/slides", response_class=HTMLResponse)
    def slides(state: StateOrAll = "", site: SiteOrAll = "") -> str:
        return renderer.page("slides.html", lambda session: questions.slides(session, state, site))

    @app.get("/cases", response_class=HTMLResponse)
    def cases(site: SiteOrAll = "") -> str:
        return renderer.page("cases.html", lambda session: questions.cases(session, site))

    @app.get("/cases/{case_id}", response_class=HTMLResponse)
    def case(case_id: OpaqueId) -> str:
        return renderer.page("case.html", lambda session: questions.case(session, case_id))

    @app.get("/scans/{scan_id}", response_class=HTMLResponse)
    def scan(scan_id: OpaqueId) -> str:
        return renderer.page("scan.html", lambda session: questions.scan(session, scan_id))


def _add_pictures(app: FastAPI, database: Database, pictures: Path) -> None:
    @app.get("/scans/{scan_id}/{name}")
    def picture(scan_id: OpaqueId, name: str) -> Response:
        kind = _PICTURES.get(name)
        path = pictures / scan_id / name
        if kind is None or path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST_PICTURE_BYTES:
            raise HTTPException(404)
        with database.read() as session:
            if name == LABEL and not questions.shows_label(session, scan_id):
                raise HTTPException(404)
        return FileResponse(path, media_type=kind)


def _add_machinery(app: FastAPI, database: Database, settings: Settings, watch: ChangeWatch) -> None:
    @app.get("/livez", response_class=PlainTextResponse)
    def livez() -> str:
        return "alive"

    @app.get("/readyz")
    def readyz() -> JSONResponse:
        ready, said = readiness(database, settings)
        return JSONResponse({"ready": ready, **said}, 200 if ready else 503)

    @app.get("/events")
    async def events() -> Response:
        if not watch.has_room:
            return PlainTextResponse("Too many pages are open: close some, or reload this one by hand.", 503)
        await watch.look()
        return StreamingResponse(watch.events(), media_type="text/event-stream")
