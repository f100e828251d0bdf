"""Progress is kept in a file, survives whatever happens to it, and counts what was passed."""

import json
import os

import pytest

from resnet_tutorial import check
from resnet_tutorial.check import bookkeeping as module
from resnet_tutorial.check.bookkeeping import FILE, Record


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "deep" / FILE
    monkeypatch.setenv("RESNET_TUTORIAL_PROGRESS", str(path))
    return path


def right(in_channels, out_channels, stride):
    return stride != 1 or in_channels != out_channels


def test_a_passed_exercise_is_kept_and_counted_once(file):
    assert check.progress().exercises[0] == 0
    for _ in range(2):
        assert check.needs_projection(right).passed
    earned = check.progress()
    assert earned.exercises == (1, len(check.catalog()))
    assert earned.points[0] == check.needs_projection.points
    assert "Next: exercise 3.2" in str(earned) and str(file) in str(earned)
    assert "<progress" in earned._repr_html_()


def test_the_next_exercise_is_in_the_chapter_that_one_is_in_or_behind_the_last_one_passed(file):
    assert "Next: exercise 1.1" in str(check.progress())
    assert "Next: exercise 4.1" in str(check.progress(chapter=4))
    assert check.needs_projection(right).passed
    assert "Next: exercise 3.2" in str(check.progress(chapter=2))
    assert "Next: exercise 4.1" in str(check.progress(chapter=4))


def test_a_later_failure_takes_nothing_away_and_tries_are_counted(file):
    check.needs_projection(lambda i, o, s: True)
    assert Record.read(file).tries == {"needs_projection": 1}
    check.needs_projection(right)
    check.needs_projection(lambda i, o, s: True)
    record = Record.read(file)
    assert list(record.passed) == ["needs_projection"] and record.tries == {"needs_projection": 1}


def test_the_books_own_solution_and_an_untouched_stub_earn_nothing(file):
    entry = check.needs_projection
    entry(entry.load_solution())
    entry(None)
    assert not file.exists()


@pytest.mark.parametrize("content", [
    "", "{", "[]", '{"format": "other"}', '{"passed": 3}', "\x00\x01",
    '{"format": "resnet_tutorial progress 1", "passed": [], "tries": {}}',
])  # fmt: skip
def test_a_damaged_file_is_named_and_left_alone(content, file):
    file.parent.mkdir()
    file.write_text(content)
    assert check.needs_projection(right).passed
    assert file.read_text() == content
    assert "cannot be used" in str(check.progress())


def test_entries_of_unknown_exercises_count_for_nothing(file):
    file.parent.mkdir()
    Record({"no_such_exercise": "2026-01-01"}, {}).write(file)
    assert check.progress().points[0] == 0


def test_a_folder_that_cannot_be_written_stops_nobody(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RESNET_TUTORIAL_PROGRESS", str(tmp_path / "file" / FILE))
    assert check.needs_projection(right).passed


def test_none_keeps_nothing_and_says_so(monkeypatch):
    monkeypatch.setenv("RESNET_TUTORIAL_PROGRESS", "none")
    check.needs_projection(right)
    assert module.places() == [] and "not kept" in str(check.progress())


@pytest.fixture
def colab(tmp_path, monkeypatch):
    """A Colab session with its disk, its Drive folder not mounted yet."""
    monkeypatch.delenv("RESNET_TUTORIAL_PROGRESS", raising=False)
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(module, "_COLAB", tmp_path)
    monkeypatch.setattr(module, "_DRIVE", tmp_path / "drive" / "MyDrive")
    return tmp_path


def test_on_colab_it_says_how_to_keep_the_file(colab):
    check.needs_projection(right)
    assert (colab / FILE).exists()
    assert "vanishes" in str(check.progress()) and "drive.mount" in str(check.progress())


def test_a_mounted_drive_is_used_and_takes_over_what_was_there(colab):
    check.needs_projection(right)
    (colab / "drive" / "MyDrive").mkdir(parents=True)
    assert check.progress().exercises[0] == 1
    check.needs_projection(lambda i, o, s: True)  # the next check writes to the Drive
    assert list(Record.read(colab / "drive" / "MyDrive" / FILE).passed) == ["needs_projection"]
    assert "Google Drive" in str(check.progress())


def test_an_uploaded_file_is_found(colab):
    (colab / FILE).write_text(json.dumps(
        {"format": "resnet_tutorial progress 1", "passed": {"bottleneck": "2026-01-01"}, "tries": {}}))  # fmt: skip
    assert check.progress().exercises[0] == 1


def test_no_half_written_file_is_left_behind(file):
    check.needs_projection(right)
    assert os.listdir(file.parent) == [FILE]
