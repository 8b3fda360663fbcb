"""A PostgreSQL server as a hosted service such as Supabase sets one up, and its pooler.

What it has in common with theirs: only TLS, with a certificate of an authority of its own; passwords; no superuser for
the customer, but an owner who may create roles; roles by which web clients come, to which all that is made in the
schema `public` is granted; a table of the customer's application there, under row level security; and PgBouncer at
another port, which gives each transaction another connection and takes only TLS as well.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.postgres import QUICK, as_server_user, postgres_server
from tests.environment.pooler import await_ready
from tests.environment.proxies import free_port

OWNER, OWNERS_PASSWORD = "project_owner", "owners-password"
PASSWORD = "a-password-of-its-own"
POOL_SIZE = 4

RULES = """\
local all postgres trust
local all all scram-sha-256
hostssl all all 127.0.0.1/32 scram-sha-256
"""

AS_SUPERUSER = f"""
CREATE ROLE {OWNER} LOGIN CREATEROLE CREATEDB BYPASSRLS PASSWORD '{OWNERS_PASSWORD}';
CREATE ROLE anon NOLOGIN;
CREATE ROLE authenticated NOLOGIN;
ALTER DATABASE postgres OWNER TO {OWNER};
ALTER SCHEMA public OWNER TO {OWNER};
GRANT USAGE ON SCHEMA public TO anon, authenticated;
ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated;
SET ROLE {OWNER};
CREATE TABLE public.todos (id BIGINT PRIMARY KEY, owner TEXT NOT NULL, task TEXT NOT NULL);
ALTER TABLE public.todos ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON public.todos USING (owner = current_setting('request.user', true));
INSERT INTO public.todos VALUES (1, 'ann', 'water the plants'), (2, 'bob', 'feed the cat');
"""

POOLER = """\
[databases]
postgres = host={socket} port={port}
[pgbouncer]
pool_mode = transaction
default_pool_size = {size}
listen_addr = 127.0.0.1
listen_port = {pooler}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
client_tls_sslmode = require
client_tls_key_file = {key}
client_tls_cert_file = {certificate}
ignore_startup_parameters = extra_float_digits,options
"""


@dataclass(frozen=True, slots=True)
class Hosted:
    """What the customer is given.

    Attributes:
        port: of the database itself.
        pooler: of the pooler.
        authority: the file with the certificate to trust.
        superuser: a DSN that only the service itself has.
    """

    port: int
    pooler: int
    authority: Path
    superuser: str

    def url(self, role: str, password: str, *, pooled: bool = False, tls: str = "verify-full") -> str:
        """The URL of the database, as the customer's program takes it."""
        port = self.pooler if pooled else self.port
        return f"postgresql://{role}:{password}@localhost:{port}/postgres?sslmode={tls}&sslrootcert={self.authority}"

    def as_owner(self, statements: str) -> None:
        """Run statements as the customer does."""
        with psycopg.connect(self.url(OWNER, OWNERS_PASSWORD), autocommit=True) as connection:
            connection.execute(statements.encode())


@contextmanager
def hosted_postgres() -> Iterator[Hosted]:
    """Run such a server and its pooler."""
    port, pooler = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="djactors-hosted-", dir="/tmp") as folder:
        directory = Path(folder)
        privileges = as_server_user(directory)
        key, certificate, authority = _certificates(directory, privileges)
        rules = directory / "pg_hba.conf"
        rules.write_text(RULES)
        settings = (
            *QUICK,
            "listen_addresses=127.0.0.1",
            "max_connections=60",
            "ssl=on",
            f"ssl_key_file={key}",
            f"ssl_cert_file={certificate}",
            f"hba_file={rules}",
        )
        with postgres_server("/tmp", settings, port) as server:
            superuser = server.dsn
            with psycopg.connect(superuser, autocommit=True) as connection:
                connection.execute(AS_SUPERUSER.encode())
            users = directory / "users"
            users.write_text(f'"djactors" "{PASSWORD}"\n"{OWNER}" "{OWNERS_PASSWORD}"\n')
            text = POOLER.format(
                socket=server.directory,
                port=port,
                size=POOL_SIZE,
                pooler=pooler,
                users=users,
                key=key,
                certificate=certificate,
            )
            hosted = Hosted(port, pooler, authority, superuser)
            with _pooler(directory, text, privileges, hosted.url(OWNER, OWNERS_PASSWORD, pooled=True)):
                yield hosted


@contextmanager
def _pooler(directory: Path, text: str, privileges: list[str], url: str) -> Iterator[None]:
    settings = directory / "pgbouncer.ini"
    settings.write_text(text)
    with (directory / "log").open("wb") as log:
        pooler = subprocess.Popen(
            [*privileges, "pgbouncer", settings], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory
        )
    try:
        await_ready(pooler, url, directory / "log")
        yield
    finally:
        pooler.kill()
        pooler.wait()


def _certificates(directory: Path, privileges: list[str]) -> tuple[Path, Path, Path]:
    """Make an authority, and a key and a certificate of the server for the name localhost."""
    key, certificate, request = directory / "server.key", directory / "server.crt", directory / "server.csr"
    authority, names = directory / "authority.crt", directory / "names"
    names.write_text("subjectAltName = DNS:localhost\n")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    trusted = ["-CA", str(authority), "-CAkey", f"{authority}.key", "-CAcreateserial"]
    for arguments in (
        ["req", "-x509", *new_key, "-keyout", f"{authority}.key", "-out", str(authority), "-subj", "/CN=authority"],
        ["req", *new_key, "-keyout", str(key), "-out", str(request), "-subj", "/CN=localhost"],
        ["x509", "-req", "-in", str(request), *trusted, "-days", "2", "-extfile", str(names), "-out", str(certificate)],
    ):
        subprocess.run([*privileges, "openssl", *arguments], check=True, capture_output=True, cwd=directory)
    directory.chmod(0o755)
    authority.chmod(0o644)
    return key, certificate, authority
