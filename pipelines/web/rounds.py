"""One URL over the web, asked again where the failure may pass, and the record of how it went."""

import asyncio
import hashlib
import time

from lineage import digests
from pipelines.web.fetch import Answer, FetchLimits, Permit, Web, storable
from pipelines.web.fetch_record import FetchRecord


async def ask(web: Web, url: str, permit: Permit | None, *, seed: str) -> list[Answer]:
    """Returns what came of each attempt; the last one decides.

    Args:
        permit: as for Web.ask.
        seed: what the scatter of the waits depends on, so that URLs that fail together are not asked again together.
    """
    answers = [await web.ask(url, permit)]
    while (wait := wait_s(answers[-1], len(answers), seed=seed, limits=web.limits)) is not None:
        await asyncio.sleep(wait)
        answers.append(await web.ask(url, permit))
    return answers


def wait_s(answer: Answer, number: int, *, seed: str, limits: FetchLimits) -> float | None:
    """Returns the wait after the attempt of this number, from 1; None where there is to be no other.

    It doubles with each attempt, is longer by up to a half, and is never less than the server asks for: where that is
    more than we wait at all, there is no other attempt.
    """
    failure = answer.failure
    if failure is None or not failure.passing or number >= limits.num_attempts:
        return None
    asked = failure.retry_after_s or 0.0
    if asked > limits.max_wait_s:
        return None
    drawn = int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:8], "big") / 2**64
    backoff = limits.backoff_s * 2.0 ** (number - 1) * (1 + drawn / 2)
    return max(asked, min(backoff, limits.max_wait_s))


async def fetch(web: Web, uid: str, url: str, permit: Permit) -> tuple[FetchRecord, bytes | None]:
    """Returns the record of a picture's URL and, where it is ok, its body. Raises nothing that a server can cause."""
    started = time.monotonic()
    answers = await ask(web, url, permit, seed=uid)
    last = answers[-1]
    failure = last.failure
    record = FetchRecord(
        uid=uid,
        url=url,
        outcome="failed" if failure else "ok",
        reason=failure.reason if failure else None,
        message=storable(failure.message) if failure else "",
        status=last.status,
        final_url=last.final_url,
        headers=last.headers,
        sha256=None if failure else digests.sha256_bytes(last.body),
        bytes=None if failure else len(last.body),
        num_attempts=len(answers),
        seconds=round(time.monotonic() - started, 3),
        fetched_at=answers[0].at,
        attempts=[attempt_facts(answer) for answer in answers],
        consent=list(dict.fromkeys(evidence for answer in answers for evidence in answer.consent)),
    )
    return record, None if failure else last.body


def attempt_facts(answer: Answer) -> dict[str, str | int | float | None]:
    """Returns what is kept of one attempt."""
    return {
        "at": answer.at,
        "seconds": round(answer.seconds, 3),
        "status": answer.status,
        "reason": answer.failure.reason if answer.failure else None,
        "final_url": answer.final_url,
    }
