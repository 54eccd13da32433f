"""`manage.py corpus` and `manage.py engines`, as people run them."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from documents.extraction.inventory import PARTS
from tests.documents.extraction.conftest import SAMPLES


def corpus(folder: Path, out: Path, *options: str) -> tuple[dict[str, dict[str, Any]], str]:
    """Run the command; return its rows by path, and what it told on standard error."""
    told = StringIO()
    call_command("corpus", str(folder), f"--out={out}", *options, stdout=StringIO(), stderr=told)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len({row["path"] for row in rows}) == len(rows)
    return {row["path"]: row for row in rows}, told.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "corpus"
    (made / "txt" / "deep").mkdir(parents=True)
    (made / "txt" / "deep" / "a.txt").write_text("Grüße aus dem Korpus")
    (made / "b.pdf").write_bytes((SAMPLES / "two-pages.pdf").read_bytes())
    (made / "broken.docx").write_bytes(b"PK\x03\x04 no archive")
    return made


def test_every_file_of_a_folder_becomes_a_line_that_score_reads(folder: Path, tmp_path: Path) -> None:
    # When a folder with good and bad files is extracted
    rows, _ = corpus(folder, tmp_path / "out.jsonl")
    # Then each has a line, by its path within the folder, with what happened
    assert set(rows) == {"txt/deep/a.txt", "b.pdf", "broken.docx"}
    assert (rows["txt/deep/a.txt"]["status"], rows["txt/deep/a.txt"]["text"]) == ("completed", "Grüße aus dem Korpus")
    assert (rows["b.pdf"]["engine"], rows["b.pdf"]["pages"]) == ("pypdfium2", 2)
    assert (rows["broken.docx"]["status"], rows["broken.docx"]["error"]) == ("failed", "damaged")
    assert all(row["seconds"] >= 0 for row in rows.values())


def test_what_was_done_is_kept_and_the_rest_goes_on(folder: Path, tmp_path: Path) -> None:
    # Given a run that was killed while it wrote its second line
    out = tmp_path / "out.jsonl"
    kept = {"path": "b.pdf", "status": "completed", "text": "from before", "engine": "x", "seconds": 0.5}
    out.write_text(json.dumps(kept) + '\n{"path": "txt/deep/a.txt", "sta')
    # When it is run again
    rows, told = corpus(folder, out)
    # Then what was whole is kept, and the rest is done
    assert rows["b.pdf"]["text"] == "from before"
    assert rows["txt/deep/a.txt"]["text"] == "Grüße aus dem Korpus"
    assert "1 files are done already; 2 are left." in told
    # And it can be made to begin again
    rows, _ = corpus(folder, out, "--restart")
    assert rows["b.pdf"]["engine"] == "pypdfium2"


def test_what_failed_for_another_reason_than_the_document_is_tried_again(folder: Path, tmp_path: Path) -> None:
    # Given a run whose sandbox could not be started, that was stopped, and that might not read a file
    out = tmp_path / "out.jsonl"
    ends = {"b.pdf": "sandbox_unavailable", "txt/deep/a.txt": "cancelled", "broken.docx": "unreadable"}
    out.write_text("".join(json.dumps({"path": path, "status": "failed", "error": ends[path]}) + "\n" for path in ends))
    # When it is run again
    rows, _ = corpus(folder, out)
    # Then each of them is done now
    assert {path: rows[path].get("error", "completed") for path in ends} == {
        "b.pdf": "completed", "txt/deep/a.txt": "completed", "broken.docx": "damaged",
    }  # fmt: skip


def test_a_folder_that_is_none_or_empty_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="is not a folder"):
        call_command("corpus", str(tmp_path / "nowhere"))
    with pytest.raises(CommandError, match="holds no files"):
        call_command("corpus", str(tmp_path))


def test_engines_lists_every_part_what_is_missing_and_the_sandbox(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a machine without any system program
    monkeypatch.setenv("PATH", str(tmp_path))
    # When a person asks
    call_command("engines")
    told = " ".join(capsys.readouterr().out.split())
    # Then each part is there, with what to install, the formats that suffer, and what the kernel grants
    assert all(part.name in told for part in PARTS)
    assert "missing: apt-get install tesseract-ocr" in told
    assert "Every format can be read." in told
    assert "would be read better with what is missing: doc gif jpg" in told.replace(",", "")
    assert "network" in told
    # And a program gets the same as JSON
    out = StringIO()
    call_command("engines", "--json", stdout=out)
    found = json.loads(out.getvalue())
    assert {one["name"] for one in found["engines"] if not one["installed"]} == {
        part.name for part in PARTS if part.is_program
    }
    assert "pdf" in found["poorer_formats"]
    assert found["sandbox"]["memory"] == "granted"
