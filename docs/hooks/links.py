"""Links that leave docs/ are for readers of the repository; on the site they become paths in it."""

import re
from typing import Any

_OUTSIDE = re.compile(r"\[([^\]]*)\]\((?:\.\./)+([^)#]*)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs for each page."""

    def path(match: re.Match[str]) -> str:
        text, place = match.groups()
        return f"`{place}`" if place.endswith(text) else f"{text} (`{place}`)"

    return _OUTSIDE.sub(path, markdown)
