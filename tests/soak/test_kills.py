"""kill -9 at random moments over download, measure, select and pack, of the stage, a process below it, or all of them.

CLIPLINE_SOAK_SEED names the seed of the rounds; the one in use stands in every round's report.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipelines.fault_server import FaultServer
from tests.pipelines.processes import descendants
from tests.soak.chain import (
    NUM_PICTURES,
    ORDER,
    TARGETS,
    Chain,
    answers,
    at_work_in,
    ended_with,
    make_chain,
    run_all,
    set_running_mode,
)

pytestmark = pytest.mark.timeout(3600)

SEED = int(os.environ.get("CLIPLINE_SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
NUM_ROUNDS, NUM_ROUNDS_IN_CI = 20, 2
MODES = ("in_memory", "multi_processing")
VICTIMS = ("the stage", "a process below it", "its process group")
MAX_BLOWS = 3
NUM_SHARDS = 8

Whole = tuple[Chain, dict[tuple[str, str], float], dict[tuple[str, str], dict[str, str]]]
"""An undisturbed run: the project, how long each stage took, and what it made."""


@pytest.fixture(scope="module")
def whole(module_folder: Path) -> Iterator[dict[str, Whole]]:
    """The undisturbed runs by Beam's running mode; both make the same."""
    with FaultServer(answers()) as server:
        urls = {name: [server.url(f"/{n}.png") for n in range(number)] for name, number in NUM_PICTURES.items()}
        first = make_chain(module_folder / "first", urls)
        seconds = run_all(first, ORDER[:2])
        found: dict[str, Whole] = {}
        for mode in MODES:
            chain = first.copy(module_folder / mode)
            set_running_mode(chain, mode)
            seconds |= run_all(chain, ORDER[2:])
            found[mode] = chain, {**seconds}, {target: chain.made(*target) for target in TARGETS}
        assert found[MODES[0]][2] == found[MODES[1]][2]
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("number", range(NUM_ROUNDS_IN_CI))
def test_a_few_kills(number: int, whole: dict[str, Whole], tmp_path: Path) -> None:
    play(number, whole, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("number", range(NUM_ROUNDS_IN_CI, NUM_ROUNDS))
def test_many_kills(number: int, whole: dict[str, Whole], tmp_path: Path) -> None:
    play(number, whole, tmp_path)


def play(number: int, whole: dict[str, Whole], folder: Path) -> None:
    """Kills one stage up to three times, lets it end, and compares with the undisturbed run."""
    chance = random.Random(f"{SEED} {number}")
    target = random.Random(SEED).sample(TARGETS, len(TARGETS))[number % len(TARGETS)]
    mode = chance.choice(MODES)
    original, seconds, made = whole[mode]
    chain = original.copy(folder / "round")
    chain.forget(*target)
    told = [f"seed {SEED}, round {number}: {target[0]}@{target[1]}, {mode}, {seconds[target]:.1f} s undisturbed"]
    try:
        for _ in range(chance.randint(1, MAX_BLOWS)):
            finished = chain.finished(*target)
            told.append(strike(chain, target, chance, seconds[target]))
            assert at_work_in(chain.folder) == [], "orphans"
            after = chain.finished(*target)
            assert finished.items() <= after.items() or not after, "a finished shard was made again"
        finished = chain.finished(*target)
        chain.run(*target)
        assert chain.made(*target) == made[target]
        assert finished.items() <= chain.identities(*target).items(), "a finished shard was made again"
        assert not [path for path in (chain.folder / ".work").iterdir() if path.is_dir()], "scratch is left"
        told.append(f"{len(finished)} finished shards kept")
    finally:
        sys.stdout.write("; ".join(told) + "\n")  # pytest shows it with -s, and where a round fails


def strike(chain: Chain, target: tuple[str, str], chance: random.Random, seconds: float) -> str:
    """Starts the stage, kills something of it at a random moment, waits for its end, and tells what was done.

    Every other moment is one in the stage's work, by the number of its receipts: its start takes most of its time.
    """
    victim, moment = chance.choice(VICTIMS), chance.uniform(0.0, seconds)
    wanted = chance.choice((None, chance.randint(1, NUM_SHARDS)))
    before, begun = chain.num_receipts(*target), time.monotonic()
    with chain.start(*target) as process:
        while process.poll() is None:
            if chain.num_receipts(*target) >= before + wanted if wanted else time.monotonic() > begun + moment:
                break
            time.sleep(0.002)
        moment = time.monotonic() - begun
        below = sorted(descendants(process.pid))
        if process.poll() is not None:
            return f"{moment:.1f} s: it had ended with {process.returncode}"
        if victim == "its process group":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            pid = chance.choice(below) if below and victim == "a process below it" else process.pid
            os.kill(pid, signal.SIGKILL)
        status = ended_with(process)
    return f"{moment:.1f} s: killed {victim} of {1 + len(below)}, it ended with {status}"
