"""Checks the addresses that servers are to listen at, and advises where they cannot."""

import errno
import ipaddress
import socket

__all__ = ["OPEN", "check", "everywhere", "family", "joined", "refused", "resolved"]

# The advice for a port that everybody can reach.
OPEN = (
    "every interface of this machine listens: whoever reaches it may ask, for there are neither "
    "users nor TLS. Put a firewall or a reverse proxy before it"
)


def resolved(host: str) -> str:
    """Returns the IP address of a host's name; one that is an address already is returned as it is.

    Raises:
        ValueError: if the name has none.
    """
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        # IPv4 comes first, because some servers know nothing else.
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return min(found, key=lambda item: item[0] != socket.AF_INET)[4][0]
    except (OSError, UnicodeError):
        raise ValueError(
            f"--host {host!r} is no address of this machine. Give one, e.g. 127.0.0.1 or 0.0.0.0."
        ) from None


def everywhere(host: str) -> bool:
    """Checks whether an IP address stands for all interfaces of the machine."""
    return ipaddress.ip_address(host).is_unspecified


def family(host: str) -> socket.AddressFamily:
    """Returns the family of sockets that listen at an IP address."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def joined(host: str, port: int) -> str:
    """Returns `host:port` as addresses have it, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check(host: str, port: int, option: str = "--port") -> None:
    """Opens a port for a moment. `0`, a free one, always is one.

    Raises:
        OSError: that says what to change, if it cannot be opened.
    """
    try:
        socket.create_server((host, port), family=family(host)).close()
    except OSError as error:
        raise refused(error, host, port, option) from None


def refused(error: OSError, host: str, port: int, option: str = "--port") -> OSError:
    """Returns the error of a port that could not be opened, with what to change."""
    if error.errno == errno.EADDRINUSE:
        text = f"Port {port} is taken. Choose another one with {option}."
    elif isinstance(error, PermissionError):
        text = f"This user may not open port {port}. Choose one from 1024 on with {option}."
    else:
        text = (
            f"Cannot listen at {joined(host, port)} ({error.strerror or error}). Give an address "
            "of this machine with --host, e.g. 127.0.0.1 or 0.0.0.0."
        )
    return OSError(error.errno, text)
