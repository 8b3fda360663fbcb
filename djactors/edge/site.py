"""The web page, and the stock Socket.IO client for other pages: the files that the build left in `djactors/web/dist`.
They are read once at the start and served from memory.

Rules:
  * A path is looked up in a dict and never joined to a folder, so no path leads out of the folder.
  * Everybody may load the page. The data that the page shows needs a token.
  * The name of a file under `assets/` contains the hash of its content, so browsers keep such a file for good. For
    every other file a browser asks again, and the usual answer is 304.
  * The client's bundles are at the reference server's paths, `/socket.io/socket.io.js` and so on. Every page of every
    origin may load them, as they are the published ones and hold no secret. Their first line names the version.
  * If the page or a bundle is missing, the rest of the server still serves, and who asks is told why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from djactors.edge.errors import NOT_KEPT, wrong_method
from djactors.edge.static_file import ASK_AGAIN, StaticFile
from djactors.net import Request, Response

BUILT = Path(__file__).parent.parent / "web" / "dist"
"""The folder in which the build leaves the page, in a checkout and in an installed package alike."""

BUILD_COMMAND = "npm ci --prefix djactors/web && npm run build --prefix djactors/web"

INDEX = "index.html"
SITE_METHODS = ("GET", "HEAD")
PAGES = ("/", "/observer")
"""The paths at which the page starts. The page itself decides what it shows there."""

CLIENT_PATHS = frozenset(
    f"/socket.io/socket.io{form}{suffix}" for form in (".js", ".min.js", ".esm.min.js") for suffix in ("", ".map")
)
"""The stock client: readable, small, and as an ES module, each with its source map."""

MAX_BYTES = 8 * 1024 * 1024
"""The most bytes of all files together, five times the page with its fonts and the client. They stay in memory, and a
mistaken build must not fill it."""

TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".mp3": "audio/mpeg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wav": "audio/wav",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""The media types by suffix. The machine's own table is not used, because it differs from machine to machine, and
browsers do not run a script of the wrong type (`nosniff`)."""

OTHER_TYPE = "application/octet-stream"

COMPRESSIBLE = frozenset({".css", ".html", ".js", ".json", ".map", ".svg", ".txt", ".webmanifest"})
"""The suffixes of files that are worth compressing. The other kinds are already compressed."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        # The page's own WebSocket is 'self' as well (Content Security Policy level 3, section 6.7.2.8).
        "connect-src 'self'",
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "manifest-src 'self'",
        "media-src 'self' data:",
    )
)

ANY_ORIGIN = (("access-control-allow-origin", "*"),)
"""What lets a page of another origin import the client as a module, or check its integrity."""

PROTECTION = (
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
)
"""The headers on every answer. The page holds a token, so no foreign script may run in it, and no foreign page may
frame or open it."""

FOREVER = "public, max-age=31536000, immutable"


class Site:
    """The page's files by path. Made by `load`.

    Attributes:
        paths: the paths that are the page's, whether it is there or not.
        problem: one line that says why there is no page to serve; None if there is a page.
    """

    def __init__(self, files: Mapping[str, bytes], problem: str | None = None) -> None:
        self.problem = problem
        loaded = {name: _file(name, body) for name, body in files.items()}
        self._files = {f"/{name}": file for name, file in loaded.items() if name != INDEX}
        if INDEX in loaded:
            self._files.update(dict.fromkeys(PAGES, loaded[INDEX]))
        elif problem is None:
            self.problem = "it is not built"
        self.paths = frozenset((*PAGES, *CLIENT_PATHS, *self._files))

    @classmethod
    def load(cls, folder: Path = BUILT) -> Self:
        """Read a built page. This blocks for some 50 ms, so it is for the start of the server.

        A missing page is not an error: `problem` then says what is wrong.
        """
        files = {}
        total = 0
        try:
            for path in _visible(folder):
                total += path.stat().st_size
                if total > MAX_BYTES:
                    return cls({}, f"its files have more than {MAX_BYTES} bytes: {folder}")
                files[path.relative_to(folder).as_posix()] = path.read_bytes()
        except OSError as error:
            return cls({}, f"it cannot be read: {error}")
        return cls(files)

    def answer(self, request: Request) -> Response:
        """Answer a request for one of `paths`."""
        if request.method not in SITE_METHODS:
            refused = wrong_method(["GET"])
            refused.headers += NOT_KEPT
            return refused
        file = self._files.get(request.path)
        if file is None:
            return self._absent_client() if request.path in CLIENT_PATHS else self._absent()
        return file.answer(request, ANY_ORIGIN if request.path in CLIENT_PATHS else ())

    def _absent_client(self) -> Response:
        text = (
            "The stock Socket.IO client is not in this installation's build of the web page. Take it from npm "
            f"(socket.io-client 4), or, in a checkout, build the page and restart the server:\n\n  {BUILD_COMMAND}\n"
        )
        headers = (*PROTECTION, ("cache-control", "no-store"), *ANY_ORIGIN)
        return Response(404, text.encode(), TYPES[".txt"], headers)

    def _absent(self) -> Response:
        text = f"The web page cannot be shown: {self.problem}.\n\nIn a checkout, build it and restart the server:\n\n"
        headers = (*PROTECTION, ("cache-control", "no-store"))
        return Response(503, f"{text}  {BUILD_COMMAND}\n".encode(), TYPES[".txt"], headers)


def _file(name: str, body: bytes) -> StaticFile:
    suffix = Path(name).suffix
    return StaticFile(
        body,
        TYPES.get(suffix, OTHER_TYPE),
        cache_control=FOREVER if name.startswith("assets/") else ASK_AGAIN,
        compressible=suffix in COMPRESSIBLE,
        headers=PROTECTION,
    )


def _visible(folder: Path) -> Iterator[Path]:
    """Every file below a folder, except hidden ones such as the build's own notes."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path
