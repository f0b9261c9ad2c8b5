"""The sky as JSON: cached answers, a cached value, and the change that makes them untrue.

What is cached depends on the rows that were asked for, so nothing here says which a change makes untrue.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from sqlalchemy import select

from cachefence_web.fastapi import cached

from .models import Star
from .queries import load_statistics
from .resources import Session, fence
from .schemas import StarChange, StarOut, Statistics

router = APIRouter(prefix="/api", tags=["sky"])


async def find_star(session: Session, star_id: int) -> Star:
    star = await session.get(Star, star_id)
    if star is None:
        raise HTTPException(404, "No such star in this catalogue.")
    return star


@router.get(
    "/stars",
    response_model=list[StarOut],
    dependencies=[Depends(cached(ttl=3600, cache=fence))],
)
async def stars(session: Session) -> list[Star]:
    """All stars, the brightest first: the whole response is kept, and any changed star ends it."""
    return list(await session.scalars(select(Star).order_by(Star.magnitude)))


@router.get(
    "/stars/{star_id}",
    response_model=StarOut,
    dependencies=[Depends(cached(ttl=3600, cache=fence))],
)
async def star(session: Session, star_id: int) -> Star:
    """One star: the whole response is kept, and only a change of this star ends it."""
    return await find_star(session, star_id)


@router.patch("/stars/{star_id}", response_model=StarOut)
async def change(session: Session, star_id: int, wanted: StarChange) -> Star:
    """Give a star another nickname; who asks after this answer sees it."""
    star = await find_star(session, star_id)
    star.nickname = wanted.nickname
    await session.commit()
    return star


@router.get("/statistics")
async def statistics(
    kept: Annotated[
        Statistics,
        # Whose session reads them makes no difference to them.
        Depends(cached(load_statistics, ttl=3600, cache=fence, unkeyed=["session"])),
    ],
) -> Statistics:
    """How much each constellation was watched: the value is kept, the response made anew."""
    return kept
