"""Claims: one process at a time holds a folder, and a dead one does not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adamct.runs import claim
from adamct.runs.claim import STALE_SECONDS, Claim

HOLD = """
import sys, time
from pathlib import Path
from adamct.runs.claim import Claim
held = Claim(Path(sys.argv[1]))
print(held.take(), flush=True)
time.sleep(60)
"""


def test_one_claim_is_held_at_a_time(tmp_path: Path) -> None:
    first, second = Claim(tmp_path / "run"), Claim(tmp_path / "run")
    assert first.take()
    assert second.is_held()
    assert not second.take()
    first.release()
    assert not second.is_held()
    assert second.take()
    first.release()  # of what it does not hold
    assert first.is_held()


def test_claim_of_a_killed_process_is_free(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    assert Claim(tmp_path).is_held()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert (tmp_path / ".alive").exists()
    assert Claim(tmp_path).take()


def test_claim_of_another_machine_is_held_until_its_sign_of_life_is_old(tmp_path: Path) -> None:
    sign, now = tmp_path / ".alive", time.time()
    for machine, age, held in [
        ("another", 0, True),
        ("another", STALE_SECONDS - 5, True),
        ("another", STALE_SECONDS + 5, False),
        (claim.socket.gethostname(), 0, False),
    ]:
        sign.write_text(machine)
        os.utime(sign, (now - age, now - age))
        assert Claim(tmp_path).is_held() == held
    sign.write_text("another")
    assert not Claim(tmp_path).take()
    assert sign.read_text() == "another"


def test_holder_renews_its_sign_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "BEAT_SECONDS", 0.01)
    held = Claim(tmp_path)
    assert held.take()
    sign = tmp_path / ".alive"
    os.utime(sign, (0, 0))
    deadline = time.monotonic() + 30
    while sign.stat().st_mtime == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sign.stat().st_mtime > 0
    held.release()
    assert not sign.exists()
