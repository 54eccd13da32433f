"""One file per engine; `documents.extraction.registry` says which format uses which."""
