"""TLS in front of this machine's AWS endpoints. A deployed function uses it for every connection, and it has a cost."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import trustme

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping
    from pathlib import Path

_HERE: Final = "127.0.0.1"
_LAYERS: Final = "/opt"
"""The folder of layers in Lambda."""


@dataclass(frozen=True, slots=True)
class Tls:
    """The endpoints behind TLS, and the root certificate that functions need for them.

    Attributes:
        addresses: from an endpoint's own address to the one behind TLS.
        authority: the root certificate, as PEM.
        scratch: a folder for bundles.
    """

    addresses: Mapping[str, str]
    authority: bytes
    scratch: Path

    def environment(self, variables: Mapping[str, str], packages: Path) -> dict[str, str]:
        """Return a function's variables with these addresses, and with the deployed roots plus this root certificate.

        The bundle contains the file that the client reads when deployed, so that reading it costs the same: the file
        that the template names, otherwise the one that botocore finds by itself.

        Args:
            variables: As the template sets them, with or without AWS_CA_BUNDLE.
            packages: The folder of packages, `python` in a layer.
        """
        content = roots_of(variables, packages).read_bytes() + b"\n" + self.authority
        bundle = self.scratch / f"{hashlib.sha256(content).hexdigest()}.pem"
        bundle.write_bytes(content)
        behind = {name: self._address(value) for name, value in variables.items()}
        return {**behind, "AWS_CA_BUNDLE": str(bundle)}

    def _address(self, value: str) -> str:
        for plain, behind in self.addresses.items():
            if value == plain or value.startswith(f"{plain}/"):
                return behind + value.removeprefix(plain)
        return value


def roots_of(variables: Mapping[str, str], packages: Path) -> Path:
    """Return the root certificate file that an AWS client reads with these variables and packages.

    Source: botocore/httpsession.py uses certifi's file if certifi can be imported, otherwise its own.
    """
    if named := variables.get("AWS_CA_BUNDLE"):
        return packages.parent / PurePosixPath(named).relative_to(_LAYERS)
    certifi = packages / "certifi" / "cacert.pem"
    return certifi if certifi.exists() else packages / "botocore" / "cacert.pem"


@asynccontextmanager
async def behind_tls(endpoints: Iterable[str], scratch: Path) -> AsyncIterator[Tls]:
    """Serve each of these http addresses over https as well, until the end."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(_HERE).configure_cert(context)
    async with AsyncExitStack() as servers:
        addresses = {}
        for endpoint in endpoints:
            server = await servers.enter_async_context(await _serve(endpoint, context))
            addresses[endpoint] = f"https://{_HERE}:{server.sockets[0].getsockname()[1]}"
        yield Tls(addresses, authority.cert_pem.bytes(), scratch)


async def _serve(endpoint: str, context: ssl.SSLContext) -> asyncio.Server:
    target = urlsplit(endpoint)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A measured process is killed in the end, whatever connections it has open.
        with suppress(OSError):
            there, back = await asyncio.open_connection(target.hostname, target.port)
            await asyncio.gather(_carry(reader, back), _carry(there, writer))

    return await asyncio.start_server(accept, _HERE, 0, ssl=context)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while part := await reader.read(65_536):
            writer.write(part)
            await writer.drain()
    finally:
        writer.close()
