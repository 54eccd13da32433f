"""The filter language of job lists: `state:dead_letter queue:ingestion age>2h error~"timed out"`.

The admin, the command line, the API and bulk operations all find jobs through it. `language` reads the text,
`fields` says what each name means (an application adds its own), `query` keeps the answer quick at any size.
"""

from queueadmin.search.query import everything, matching

__all__ = ["everything", "matching"]
