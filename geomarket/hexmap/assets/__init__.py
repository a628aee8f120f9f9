"""JavaScript of the hexagon painter, and how modules become one inline script."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources

__all__ = ["asset_text", "bundle"]

_IMPORT = re.compile(r"^import\b[^;]*;\n", re.MULTILINE)
# block comments on lines of their own: the assets are there to be read, the page to be mailed
_REMARK = re.compile(r"^[ \t]*/\*.*?\*/[ \t]*\n", re.MULTILINE | re.DOTALL)
_EXPORT = re.compile(r"^export (?=(?:async |default )?(?:function|class|const|let)\b)", re.MULTILINE)


def asset_text(name: str, package: str = "geomarket.hexmap.assets") -> str:
    """Return the text of a file of an assets package, with Unix line ends."""
    text = resources.files(package).joinpath(name).read_text(encoding="utf-8")
    return text.replace("\r\n", "\n")


def bundle(modules: Sequence[str]) -> str:
    """Join ES modules, given as text in order of use, into one script without imports, exports and block comments.

    A page opened from disk may not import a module from a file, so the modules share one scope.

    Examples
    --------
    >>> bundle(["export const one = 1;\\n", 'import { one } from "./a.js";\\nconsole.log(one);\\n'])
    'const one = 1;\\n\\nconsole.log(one);\\n'
    """
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", _REMARK.sub("", text))) for text in modules)
