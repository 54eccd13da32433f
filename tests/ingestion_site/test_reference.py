"""Pages that are rendered, and files that are listed, are what the code and the requirements say."""

import re

from ingestion_site import licences, reference
from ingestion_site.environment import PROJECT_DIR


def test_the_settings_page_is_what_the_code_reads() -> None:
    page = (PROJECT_DIR / "docs" / "settings.md").read_text()
    assert page == reference.render(), "run: python -m ingestion_site.reference > docs/settings.md"


def test_the_settings_page_names_every_variable_of_the_example() -> None:
    # Given
    example = (PROJECT_DIR / ".env.example").read_text()
    named = set(re.findall(r"^#([A-Z0-9_]+)=", example, re.MULTILINE))
    # When
    shown = set(re.findall(r"^\| .*", reference.render(), re.MULTILINE))
    # Then
    rows = "\n".join(shown)
    assert len(named) > 40
    assert not {name for name in named if f"`{name}`" not in rows}


def test_the_page_of_licences_names_every_required_package() -> None:
    page = (PROJECT_DIR / "docs" / "licences.md").read_text()
    required = licences.required()
    assert {"textract", "extract-msg"} <= set(required)
    assert not {name for name in required if f"\n| {name} |" not in page}, "run: python -m ingestion_site.licences"
