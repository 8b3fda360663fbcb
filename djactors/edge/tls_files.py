"""The certificate and its key: read at the start, and again when a file changes or on SIGHUP.

Rules:
  * A new pair that is wrong changes nothing: newcomers go on getting the old one, and the log says what is wrong, once
    for each change. Whoever replaces one file after the other causes such an entry, and then one that all is well.
  * Open connections keep what they have. Newcomers get the new pair.
  * The log warns of a certificate that ends soon, when it is read and then once a day.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import trio

from djactors.config import SettingError, Settings, environment_name
from djactors.domain.times import WALL_CLOCK, utc_text
from djactors.edge.watched_files import InThread, WatchedFiles
from djactors.net import ServerTls, TlsRefused, tls_context
from djactors.telemetry import Telemetry

ENDS_SOON = timedelta(days=14)
"""A certificate that is renewed by a program, as by certbot, is renewed a month before its end, or at two thirds of its
life. One that has two weeks left was forgotten."""

DAY = 86400.0

_FIELDS = {"certificate": "tls_cert", "key": "tls_key"}


def load_tls(settings: Settings) -> ServerTls | None:
    """The pair that the settings name; None if they name none. It waits for the disk.

    Raises:
        SettingError: the pair cannot be used; the message names the setting and the mend.
    """
    if not settings.tls_cert and not settings.tls_key:
        return None
    for name, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if not getattr(settings, name):
            shown = environment_name(name)
            raise SettingError(
                f"{shown}: is not set, although {environment_name(other)} is: name both files, or neither"
            )
    try:
        return ServerTls(settings.tls_cert, settings.tls_key)
    except TlsRefused as error:
        raise _refused(error) from None


def finding(settings: Settings, now: datetime) -> str | None:
    """What is wrong with the pair, or will soon be; None if all is well, or there is none. It never raises."""
    try:
        if load_tls(settings) is None:
            return None
    except SettingError as error:
        return str(error)
    return _validity(settings, now) or _exposed(settings)


def _refused(error: TlsRefused) -> SettingError:
    return SettingError(f"{environment_name(_FIELDS[error.file])}: {error}")


def _validity(settings: Settings, now: datetime) -> str | None:
    # Not needed for --help, which is to be quick.
    from cryptography import x509

    shown, path = environment_name("tls_cert"), settings.tls_cert
    try:
        chain = x509.load_pem_x509_certificates(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        return f"{shown}: {path} is not taken ({error}): write the certificate in PEM form"
    first, last = chain[0].not_valid_before_utc, min(each.not_valid_after_utc for each in chain)
    if now < first:
        return f"{shown}: {path} is not valid before {utc_text(first)}: set the clock, or take another certificate"
    if now >= last:
        return f"{shown}: {path} has ended at {utc_text(last)}, and clients refuse it: renew it"
    if now + ENDS_SOON >= last:
        return f"{shown}: {path} ends at {utc_text(last)}: renew it before"
    return None


def _exposed(settings: Settings) -> str | None:
    try:
        mode = os.stat(settings.tls_key).st_mode
    except OSError:
        return None
    if not mode & (stat.S_IROTH | stat.S_IWOTH):
        return None
    return (
        f"{environment_name('tls_key')}: every user of this machine may read or write {settings.tls_key}: "
        f"`chmod o= {settings.tls_key}`, and take a new key if others have used this machine"
    )


class TlsFiles:
    """A service; see the module for its rules.

    Args:
        settings: name the pair.
        tls: what the listener uses, and what gets the new pair.
        telemetry: is told.
        now: the wall clock.
        in_thread: runs what waits for the disk.
    """

    def __init__(
        self,
        settings: Settings,
        tls: ServerTls,
        telemetry: Telemetry,
        now: Callable[[], datetime] = WALL_CLOCK,
        in_thread: InThread = trio.to_thread.run_sync,
    ) -> None:
        self._settings = settings
        self._tls = tls
        self._log = telemetry.log
        self._now = now
        self._in_thread = in_thread
        paths = [Path(settings.tls_cert), Path(settings.tls_key)]
        self._files = WatchedFiles(paths, self._read, in_thread)
        self._is_first = True

    def reload(self) -> trio.Event:
        """Read the files again. The event is set once that is done. Must be called on the Trio thread."""
        return self._files.reload()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look after the files until this is cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._warn_daily)
            await self._files.run(task_status=task_status)

    async def _read(self, told: bool) -> None:
        try:
            self._tls.context = await self._in_thread(tls_context, self._settings.tls_cert, self._settings.tls_key)
        except TlsRefused as error:
            self._log.error("the new certificate is refused, the old one stays", reason=str(_refused(error)))
            return
        if told or not self._is_first:
            self._log.info("new certificate", file=self._settings.tls_cert)
            await self._warn()
        self._is_first = False

    async def _warn_daily(self) -> None:
        while True:
            await self._warn()
            await trio.sleep(DAY)

    async def _warn(self) -> None:
        problem = await self._in_thread(finding, self._settings, self._now())
        if problem is not None:
            self._log.warning("look at the certificate", reason=problem)
