"""`docs/state_machine.md`, rendered from the table of edges: `python -m queueadmin.state_machine`."""

from __future__ import annotations

import sys

from queueadmin.edges import EDGES, Edge
from queueadmin.states import TERMINAL, State

_HEAD = """# The life of a job

Rendered from `queueadmin/edges.py` by `python -m queueadmin.state_machine > docs/state_machine.md`;
a test compares the two. Every edge is one guarded UPDATE with its event in the same transaction.
"""


def render() -> str:
    """The page as Markdown: a diagram, the states, the edges."""
    return "\n".join([_HEAD, *_diagram(), "", *_states(), "", *_edges(), ""])


def _diagram() -> list[str]:
    arrows = [
        f"    {source} --> {target}: {edge.name}"
        for edge in EDGES
        for source in (*sorted(edge.sources), *([] if edge.sources else ["[*]"]))
        for target in edge.targets
    ]
    return ["```mermaid", "stateDiagram-v2", *arrows, "```"]


def _states() -> list[str]:
    rows = [f"| `{state.value}` | {'yes' if state in TERMINAL else ''} | {_leaves(state)} |" for state in State]
    return ["| state | ends a run | left by |", "|---|---|---|", *rows]


def _leaves(state: State) -> str:
    names = [f"`{edge.name}`" for edge in EDGES if state in edge.sources]
    return ", ".join(names) or "retention"


def _edges() -> list[str]:
    return ["| edge | from | to | taken by | meaning |", "|---|---|---|---|---|", *map(_row, EDGES)]


def _row(edge: Edge) -> str:
    sources = ", ".join(sorted(edge.sources)) or "(new)"
    return f"| `{edge.name}` | {sources} | {', '.join(edge.targets)} | {edge.by} | {edge.doc} |"


if __name__ == "__main__":
    sys.stdout.write(render())
