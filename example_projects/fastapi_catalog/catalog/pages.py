"""The sky as pages: each kept whole, until a star on it changes."""

from pathlib import Path

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates
from sqlalchemy import select

from cachefence_web.fastapi import cached

from . import chart
from .api import find_star
from .models import Star
from .queries import load_light_curve, load_statistics
from .resources import Session, fence

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
templates = Jinja2Templates(directory=Path(__file__).with_name("templates"))


@router.get("/", dependencies=[Depends(cached(ttl=3600, cache=fence))])
async def sky(request: Request, session: Session) -> HTMLResponse:
    stars = list(await session.scalars(select(Star).order_by(Star.magnitude)))
    statistics = await load_statistics(session)
    shown = {"chart": chart.draw(stars), "brightest": stars[:12], "statistics": statistics}
    return templates.TemplateResponse(request, "sky.html", shown)


@router.get("/stars/{star_id}", dependencies=[Depends(cached(ttl=3600, cache=fence))])
async def star(request: Request, session: Session, star_id: int) -> HTMLResponse:
    star = await find_star(session, star_id)
    curve = chart.curve(await load_light_curve(session, star_id))
    shown = {"star": star, "point": chart.place(star), "curve": curve}
    return templates.TemplateResponse(request, "star.html", shown)
