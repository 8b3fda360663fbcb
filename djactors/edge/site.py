"""The web page: the files that the build left in `djactors/web/dist`, read once at the start and served from memory.

Rules: a path is looked up in a dict and never joined to a folder, so no path leads out of it. The page is for
everybody; the data that it shows needs a token. What is under `assets/` has the hash of its content in its name and is
kept by browsers for good; everything else is asked for again and mostly answered 304. Whatever is missing, the rest of
the server serves.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Self

from djactors.edge.errors import wrong_method
from djactors.net import Request, Response

BUILT = Path(__file__).parent.parent / "web" / "dist"
"""Where the build leaves the page, in a checkout and in an installed package alike."""

BUILD_COMMAND = "npm ci --prefix djactors/web && npm run build --prefix djactors/web"

INDEX = "index.html"
PAGES = ("/", "/observer")
"""The addresses at which the page starts; it decides itself what it shows there."""

MAX_BYTES = 8 * 1024 * 1024
"""Of all files together: ten times the page with its fonts. They stay in memory; a mistaken build must not fill it."""

TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mp3": "audio/mpeg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wav": "audio/wav",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""Not asked of the machine: what it has registered differs, and a script of the wrong type does not run (`nosniff`)."""

OTHER_TYPE = "application/octet-stream"

COMPRESSIBLE = frozenset({".css", ".html", ".js", ".json", ".svg", ".txt", ".webmanifest"})
"""The other kinds are compressed in themselves."""

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

PROTECTION = (
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
)
"""On every answer. The page holds a token: no foreign script runs in it, and no foreign page frames or opens it."""

FOREVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"


class _Variant:
    """One form of a file, as it goes onto the wire."""

    __slots__ = ("body", "etag", "headers")

    def __init__(self, body: bytes, cache_control: str, encoding: str | None, *, varies: bool) -> None:
        self.body = body
        # Of the bytes that are sent: the plain and the compressed form must differ (RFC 9110 section 8.8.3.3).
        self.etag = f'"{sha256(body).hexdigest()[:32]}"'
        self.headers = (
            *PROTECTION,
            ("cache-control", cache_control),
            ("etag", self.etag),
            *((("vary", "accept-encoding"),) if varies else ()),
            *((("content-encoding", encoding),) if encoding is not None else ()),
        )


class _File:
    """A file of the page, plain and, where that is smaller, compressed."""

    __slots__ = ("compressed", "content_type", "plain")

    def __init__(self, name: str, body: bytes) -> None:
        suffix = Path(name).suffix
        self.content_type = TYPES.get(suffix, OTHER_TYPE)
        cache_control = FOREVER if name.startswith("assets/") else ASK_AGAIN
        # Without the time of the compression in it, so that the ETag outlives a restart.
        smaller = gzip.compress(body, mtime=0) if suffix in COMPRESSIBLE else body
        self.compressed: _Variant | None = None
        if len(smaller) < len(body):
            self.compressed = _Variant(smaller, cache_control, "gzip", varies=True)
        self.plain = _Variant(body, cache_control, None, varies=self.compressed is not None)


class Site:
    """The page's files by path. Made by `load`.

    Attributes:
        problem: why there is no page to serve, in one line; None where there is one.
    """

    def __init__(self, files: Mapping[str, bytes], problem: str | None = None) -> None:
        self.problem = problem
        loaded = {name: _File(name, body) for name, body in files.items()}
        self._files = {f"/{name}": file for name, file in loaded.items() if name != INDEX}
        if INDEX in loaded:
            self._files.update(dict.fromkeys(PAGES, loaded[INDEX]))
        elif problem is None:
            self.problem = "it is not built"

    @classmethod
    def load(cls, folder: Path = BUILT) -> Self:
        """Read a built page. Blocks for some 30 ms, so it is for the start. A page that is missing is a `problem`."""
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

    def answer(self, request: Request) -> Response | None:
        """Answer a request for the page or one of its files; None where the path is neither."""
        file = self._files.get(request.path)
        if file is None:
            if request.path not in PAGES:
                return None
            return self._absent() if request.method in ("GET", "HEAD") else wrong_method(["GET"])
        if request.method not in ("GET", "HEAD"):
            return wrong_method(["GET"])
        variant = file.plain
        if file.compressed is not None and _takes_gzip(request):
            variant = file.compressed
        if _has(request, variant.etag):
            return Response(304, headers=variant.headers)
        return Response(200, variant.body, file.content_type, variant.headers)

    def _absent(self) -> Response:
        text = f"The web page cannot be shown: {self.problem}.\n\nIn a checkout, build it and restart the server:\n\n"
        headers = (*PROTECTION, ("cache-control", "no-store"))
        return Response(503, f"{text}  {BUILD_COMMAND}\n".encode(), TYPES[".txt"], headers)


def _visible(folder: Path) -> Iterator[Path]:
    """Every file below a folder; hidden ones, such as the build's own notes, are nobody's business."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def _takes_gzip(request: Request) -> bool:
    """Whether the client takes gzip: by its name, or else by `*` (RFC 9110 section 12.5.3)."""
    wanted = {}
    for token in request.tokens("accept-encoding"):
        coding, _, weight = token.partition(";")
        wanted[coding.strip()] = weight.replace(" ", "").removeprefix("q=").strip("0.") != "" if weight else True
    return wanted.get("gzip", wanted.get("*", False))


def _has(request: Request, etag: str) -> bool:
    """Whether the client has this form already (RFC 9110 section 13.1.2; the comparison is the weak one)."""
    held = request.header("if-none-match")
    if held is None:
        return False
    return held.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in held.split(","))
