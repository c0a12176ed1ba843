from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.spool import Spool, home_for
from schemas.events import REVERTED, Event
from tests.producers.fixes import any_event, fix, some_fixes

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@settings(max_examples=30)
@given(st.lists(any_event(), max_size=5))
def test_what_is_kept_is_read_back_in_its_order_and_gone_when_forgotten(
    events: list[Event],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        spool = Spool(Path(directory))
        spool.keep(events)

        # What differs in its time alone is the same event, and stays as it was said first.
        first: dict[object, Event] = {}
        for each in events:
            first.setdefault((each.customer_id, each.source, each.id, each.body_hash), each)
        assert spool.read().events == list(first.values())

        spool.forget(events)
        assert list(Path(directory).iterdir()) == []


def test_an_empty_spool_is_not_even_a_directory(spool: Spool) -> None:
    assert spool.read() == ([], [])
    assert not spool.directory.exists()


def test_order_survives_several_keepings(spool: Spool) -> None:
    deployed, reverted = fix(), fix(id="evt-back", type=REVERTED)

    spool.keep([deployed])
    spool.keep([reverted])
    spool.keep([deployed])

    assert spool.read().events == [deployed, reverted]


def test_an_event_said_again_later_keeps_its_first_time(spool: Spool) -> None:
    spool.keep([fix()])
    spool.keep([fix(time="2026-03-01T12:00:09Z")])

    assert spool.read().events == [fix()]


def test_a_batch_keeps_its_order_within_one_tick_of_the_clock(spool: Spool) -> None:
    events = some_fixes(200)

    spool.keep(events)

    assert spool.read().events == events


def test_an_event_kept_twice_lies_there_once(spool: Spool) -> None:
    spool.keep([fix()])
    spool.keep([fix(), fix()])

    assert len(list(spool.directory.iterdir())) == 1


def test_another_event_under_the_same_id_does_not_push_out_the_first(spool: Spool) -> None:
    first, second = fix(), fix(data__commit_sha="d" * 40)

    spool.keep([first, second])

    assert spool.read().events == [first, second]


def test_only_its_owner_reads_it(spool: Spool) -> None:
    spool.keep([fix()])

    assert spool.directory.stat().st_mode & 0o777 == 0o700
    assert spool.file_of(fix()).stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_damaged_is_written_anew(spool: Spool) -> None:
    spool.keep([fix()])
    spool.file_of(fix()).write_bytes(b"")

    spool.keep([fix()])

    assert spool.read().events == [fix()]


def test_a_file_that_holds_no_event_stays_and_is_named(spool: Spool) -> None:
    spool.keep([fix()])
    strange = {
        "garbage": b"\x00\xff",
        "empty": b"",
        "half": fix("two").to_bytes()[:-9],
        "huge": b" " * 200_000,
    }
    for name, body in strange.items():
        (spool.directory / f"{name}.json").write_bytes(body)
    (spool.directory / "folder.json").mkdir()
    os.mkfifo(spool.directory / "pipe.json")
    before = sorted(spool.directory.iterdir())

    contents = spool.read()

    assert contents.events == [fix()]
    named = {file.stem for file, why in contents.unreadable if why}
    assert named == {*strange, "folder", "pipe"}
    assert sorted(spool.directory.iterdir()) == before


def test_a_half_written_file_of_a_dead_process_is_no_event(spool: Spool) -> None:
    spool.keep([fix()])
    (spool.directory / "left.123-456.part").write_bytes(b'{"specversion"')

    assert spool.read() == ([fix()], [])


def test_a_disk_that_takes_nothing_leaves_nothing_half(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(OSError, match="exists"):
        Spool(tmp_path / "file").keep([fix()])

    assert [each.name for each in tmp_path.iterdir()] == ["file"]


KEEPS_FOREVER = """
import sys
from pathlib import Path
from producers.spool import Spool
from tests.producers.fixes import fix
spool = Spool(Path(sys.argv[1]))
for number in range(1_000_000):
    spool.keep([fix(f"{number}-a"), fix(f"{number}-b")])
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("after", [1, 7, 40])
def test_a_process_killed_while_it_keeps_loses_nothing_it_had_kept(
    spool: Spool, after: int
) -> None:
    command = [sys.executable, "-c", KEEPS_FOREVER, str(spool.directory)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as process:
        assert process.stdout
        for _ in range(after):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        said = after + len(process.stdout.read().splitlines())

    contents = spool.read()
    assert contents.unreadable == []
    kept = [event.id for event in contents.events]
    assert kept[: 2 * said] == [f"evt-{number}-{x}" for number in range(said) for x in "ab"]
    assert len(kept) <= 2 * said + 2


def test_each_destination_has_a_spool_of_its_own() -> None:
    addresses = [
        "https://billing.example.com",
        "https://billing.example.com:8443",
        "https://staging.example.com",
        "https://staging.example.com/fixbill/",
        "redis://:secret@10.0.0.7:6379/0",
        "redis://:secret@10.0.0.7:6379/1",
    ]

    homes = {home_for(address) for address in addresses}

    assert len(homes) == len(addresses)
    assert len({home.parent for home in homes if home}) == 1


@pytest.mark.parametrize(
    "address",
    ["redis://:pa@ss@host/0", "redis://user:pass@host:6379/0", "https://h/../../../etc", "x:///.."],
)
def test_the_name_of_a_spool_hides_passwords_and_stays_in_its_place(address: str) -> None:
    home = home_for(address)

    assert home
    assert "pa" not in home.name
    assert home.parent.name == "spool"
    assert "/" not in home.name
    assert home.name not in {".", ".."}
