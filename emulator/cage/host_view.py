"""What a sandbox with a root of its own sees of the host's file system: one table, by directory.

Everything that is not listed here does not exist in a sandbox. The table is an allow-list, because no list can name
what a developer's machine keeps where: databases, mail, tokens of agents, other users' files. Of /usr, of the
directories of programs and libraries beside it, and of /nix and /gnu, everything is seen: they hold programs alone.

Two lists of one emulator or sandbox change this: `hidden_directories.py` says which directories are hidden as well
(homes, directories of emulators and of keys), and the spec's `show` which are seen all the same, read-only: those of
the template's toolchain (`IsolationLevel.spec`).
"""

from __future__ import annotations

import fnmatch
import functools
import os
import re
import stat
from collections.abc import Collection, Iterator

from . import disk

#: Top-level directories of which a sandbox sees all; those that the host does not have are left out.
PROGRAM_DIRECTORIES = ("bin", "gnu", "lib", "lib32", "lib64", "libx32", "nix", "sbin", "usr")
#: Top-level directories of which it sees what ALLOWED lists. They exist in every sandbox.
FILTERED_DIRECTORIES = ("etc", "opt", "var")
#: Top-level directories that exist in every sandbox, and are empty in a new one.
EMPTY_DIRECTORIES = ("boot", "home", "media", "mnt", "srv")
#: By top-level directory, the files that name the sandbox: every sandbox has its own, so layers and archives have none.
OWN_FILES = {"etc": ("hosts", "hostname")}

#: By directory, patterns of the names that are seen in it. A directory that is not a key here is seen whole, apart
#: from REFUSED and, in /etc, from what only its owner or group may read.
ALLOWED: dict[str, tuple[str, ...]] = {
    "etc": (
        # accounts (their passwords are replaced, see `mask/mask.py`), names, network
        *("passwd", "group", "subuid", "subgid", "login.defs", "adduser.conf", "deluser.conf", "default", "skel"),
        *("nsswitch.conf", "host.conf", "hosts", "hostname", "resolv.conf", "gai.conf", "networks", "protocols"),
        *("services", "rpc", "ethertypes", "netconfig", "bindresvport.blacklist", "pam.conf", "pam.d", "security"),
        *("authselect", "libaudit.conf", "securetty", "shells"),
        # the system and its shells
        *("*-release", "*_version", "os-release", "lsb-release", "issue", "issue.net", "motd", "machine-id"),
        *("localtime", "timezone", "adjtime", "locale*", "vconsole.conf", "environment", "environment.d", "profile"),
        *("profile.d", "bash*", "zsh*", "csh*", "fish", "inputrc", "terminfo", "ksh*", "mtab", "fstab", "rmt"),
        *("magic", "magic.mime", "mime.types", "mailcap", "papersize", "sysctl.conf", "sysctl.d", "xattr.conf"),
        # programs, libraries and package managers
        *("alternatives", "apk", "apt", "dpkg", "debconf.conf", "dnf", "yum*", "rpm", "pacman*", "portage", "zypp"),
        *("makepkg.conf", "ca-certificates*", "ssl", "pki", "crypto-policies", "gnutls", "gss", "ld.so.*", "ldap"),
        *("ld-musl-*", "binfmt.d", "modules-load.d", "selinux", "apparmor.d", "kernel", "opt", "sgml", "xml", "xdg"),
        *("fonts", "X11", "gtk-*", "glvnd", "vulkan", "OpenCL", "pulse", "drirc", "dconf", "cups-client.conf"),
        *("chromium", "chromium.d", "chrome", "firefox", "java*", ".java", "maven", "ant.d", "perl", "python*"),
        *("ruby*", "php*", "R", "julia", "node*", "npmrc", "pip.conf", "gemrc", "gitattributes", "gitconfig"),
        *("gdb", "debuginfod", "emacs", "vim", "nanorc", "wgetrc", "screenrc", "tmux.conf", "lynx", "manpath.config"),
        *("man_db.conf", "groff", "dictionaries-common", "logrotate.conf", "logrotate.d", "init.d", "rc?.d", "systemd"),
        *("tmpfiles.d", "sensors*", "mke2fs.conf", "e2scrub.conf", "gprofng.rc", "ucf.conf", "update-motd.d"),
        *("cron.d", "cron.hourly", "cron.daily", "cron.weekly", "cron.monthly", "crontab", "dbus-1", "logcheck"),
        *("apache2", "lighttpd", "appstream.conf", "PackageKit", "bash_completion.d", "gcrypt", "nix"),
        *("static", "apport", "lsb-*", "update-manager", "iproute2"),
    ),
    # Programs that install themselves here, and are called through links elsewhere. What a template needs is seen in
    # any case.
    "opt": ("conda", "google", "hostedtoolcache", "java", "microsoft", "miniconda*", "miniforge*", "pipx", "rocm*"),
    "var": ("cache", "lib", "local", "log", "lock", "mail", "opt", "run", "spool", "tmp"),
    "var/cache": ("apt", "debconf", "dictionaries-common", "dnf", "fontconfig", "ldconfig", "man", "yum"),
    "var/cache/apt/archives": (),
    "var/lib": (
        *("alternatives", "apk", "apt", "ca-certificates*", "dbus", "dictionaries-common", "dnf", "dpkg", "emacsen*"),
        *("gems", "ghc", "man-db", "misc", "pacman", "pam", "python", "python3", "rpm", "sgml-base", "shells.state"),
        *("ucf", "update-alternatives", "usrmerge", "vim", "xml-core", "xkb"),
    ),
    "var/local": (),
    "var/log": (),
    "var/mail": (),
    "var/opt": (),
    "var/spool": (),
    "var/tmp": (),
}

#: Paths that are not seen although their directory is: they hold secrets, or may.
REFUSED = (
    "etc/apt/auth.conf",
    "etc/apt/auth.conf.d",
    "etc/pki/tls/private",
    "etc/ssl/private",
    "var/cache/debconf/passwords.dat",
    "var/cache/debconf/passwords.dat-old",
)

#: Directories that exist in every sandbox, with their modes, whether the host has them or not.
ALWAYS: dict[str, int] = {
    "opt/caged": 0o755,
    "var/cache": 0o755,
    "var/cache/apt/archives": 0o755,
    "var/cache/apt/archives/partial": 0o755,
    "var/lib": 0o755,
    "var/local": 0o755,
    "var/log": 0o755,
    "var/mail": 0o755,
    "var/opt": 0o755,
    "var/spool": 0o755,
    "var/tmp": 0o1777,
}


def overlaid_directories() -> tuple[str, ...]:
    """Return the names of the top-level directories that are mounted as overlays."""
    programs = [name for name in PROGRAM_DIRECTORIES if _is_directory(f"/{name}")]
    return tuple(sorted((*programs, *FILTERED_DIRECTORIES)))


def links() -> dict[str, str]:
    """Return the targets of the host's top-level links that a sandbox has, too, such as /bin -> usr/bin."""
    found = {}
    for name in PROGRAM_DIRECTORIES:
        try:
            found[name] = os.readlink(f"/{name}")
        except OSError:
            pass  # a directory, or missing
    return found


def is_listed(path: str) -> bool:
    """Whether a path below a top-level directory is seen, as far as the table says.

    Args:
        path: Relative to the host's root, such as "etc/ssl", without links.
    """
    parts = path.split("/")
    if parts[0] not in (*PROGRAM_DIRECTORIES, *FILTERED_DIRECTORIES):
        return False
    for depth in range(1, len(parts)):
        directory = "/".join(parts[:depth])
        if directory in ALLOWED:
            names, patterns = _allowed(directory)
            if parts[depth] not in names and not patterns.match(parts[depth]):
                return False
    return not any(is_below(path, refused) for refused in REFUSED)


def is_below(path: str, directory: str) -> bool:
    """Whether a path is a directory or lies in it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


@functools.cache
def _allowed(directory: str) -> tuple[frozenset[str], re.Pattern[str]]:
    """The names of a directory that are listed as they are, and one expression for the patterns: each entry is compared
    with all of them."""
    patterns = [pattern for pattern in ALLOWED[directory] if re.search(r"[*?\[]", pattern)]
    expression = "|".join(map(fnmatch.translate, patterns)) or r"(?!)"
    return frozenset(ALLOWED[directory]) - set(patterns), re.compile(expression)


def find_hidden_paths() -> Iterator[str]:
    """Yield the paths of this host that are not seen, as `is_listed` has them: the topmost of each tree. Those of
    REFUSED are among them even if they do not exist yet: a mask is not made anew when a secret is written."""
    hidden = set(_hidden_entries())
    yield from sorted(hidden)
    for path in REFUSED:
        if path not in hidden and _is_seen_directory(os.path.dirname(path), hidden):
            yield path


def _is_seen_directory(path: str, hidden: Collection[str]) -> bool:
    parts = path.split("/")
    is_hidden = any("/".join(parts[:depth]) in hidden for depth in range(1, len(parts) + 1))
    return not is_hidden and os.path.isdir(f"/{path}") and os.path.realpath(f"/{path}") == f"/{path}"


def _hidden_entries() -> Iterator[str]:
    for directory in sorted(ALLOWED):
        names, patterns = _allowed(directory)
        is_seen = is_listed(directory)
        for entry in disk.entries(f"/{directory}"):
            path = f"{directory}/{entry.name}"
            if path in ALLOWED and not entry.is_dir(follow_symlinks=False):
                continue  # a link, such as /var/lock
            # As `is_listed` has it, which looks at the directory again for each of thousands of entries.
            is_allowed = entry.name in names or patterns.match(entry.name) is not None
            if not (is_seen and is_allowed) or path in REFUSED:
                yield path
            elif directory == "etc":
                yield from _private(entry, path)


def _private(entry: os.DirEntry[str], path: str) -> Iterator[str]:
    """Yield what other users may not read: root in a sandbox could."""
    if path in REFUSED or entry.is_symlink():
        return
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except OSError:
        return
    if stat.S_ISDIR(mode):
        if mode & 0o005 != 0o005:
            yield path
            return
        for below in disk.entries(f"/{path}"):
            yield from _private(below, f"{path}/{below.name}")
    elif not mode & 0o004:
        yield path


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def markdown_table() -> str:
    """Return the table in Markdown, for the documentation."""
    lines = ["| of the host's | a sandbox sees |", "| --- | --- |"]
    lines.append(f"| {_words(PROGRAM_DIRECTORIES, '/')} | everything |")
    lines += [f"| `/{path}` | {_words(names) or 'nothing'} |" for path, names in sorted(ALLOWED.items())]
    lines.append(f"| {_words(EMPTY_DIRECTORIES, '/')} | nothing: they exist, and are empty |")
    lines.append("| any other top-level directory | nothing, apart from the toolchain of its template, read-only |")
    lines.append(f"| {_words(REFUSED, '/')} | nothing, whatever is listed above |")
    return "\n".join(lines) + "\n"


def _words(names: tuple[str, ...], before: str = "") -> str:
    return ", ".join(f"`{before}{name}`" for name in names)
