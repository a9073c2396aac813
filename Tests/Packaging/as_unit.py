#!/usr/bin/env python3
"""Runs the command line of a service as systemd would, where no systemd runs: as the unit's user,
without rights, in its folder, with its environment and its credentials and nothing else.

  as_unit.py UNIT INSTANCE STATE [ROOT]

UNIT is a file such as tranche@.service. Drop-ins beside it count, and those in a ROOT's
/etc/systemd/system: in tranche@.service.d and in tranche@INSTANCE.service.d. STATE is %S. With a
ROOT everything happens in there. Without one, system calls that the unit's filter does not allow
fail, as they would under systemd, and a user that this machine does not have is a number that is
nobody else's.

What a service of Type=notify tells systemd is printed to standard error as "notify: STATE". SIGTERM
and SIGHUP are passed on to the command. Namespaces, limits and priorities are not played. Ends as
the command does: by a signal where the command did.
"""

import contextlib
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

NOBODY_ELSE = 64_321
# systemd's exit code where a credential cannot be loaded, systemd.exec(5).
EXIT_CREDENTIALS = 243


class Unit:
    """What the file and its drop-ins say."""

    def __init__(self, path, instance, state, root):
        template = os.path.basename(path)
        self.name = template.replace("@.", f"@{instance}.")
        self.specifiers = {"i": instance, "n": self.name, "S": state, "%": "%"}
        self.settings = {}
        self.read(path)
        folders = [os.path.dirname(path)] + [root + "/etc/systemd/system"] * bool(root)
        for pattern in [glob.escape(f"{folder}/{name}.d") + "/*.conf"
                        for name in (template, self.name) for folder in folders]:
            for drop_in in sorted(glob.glob(pattern)):
                self.read(drop_in)

    def read(self, path):
        with open(path) as file:
            lines = file.read().replace("\\\n", " ").split("\n")
        for line in lines:
            if line.strip() and line[0] not in "#;[":
                key, value = (part.strip() for part in line.split("=", 1))
                # An empty value takes back what was said before.
                said = self.settings.setdefault(key, [])
                self.settings[key] = said + [value] if value else []

    def all(self, key):
        return [re.sub("%(.)", lambda match: self.specifiers[match[1]], value)
                for value in self.settings.get(key, [])]

    def one(self, key):
        return self.all(key)[-1] if self.settings.get(key) else None


def user(name, root):
    """Its number, its group's and its home."""
    with open(root + "/etc/passwd") as file:
        for line in file:
            fields = line.rstrip("\n").split(":")
            if fields[0] == name:
                return int(fields[2]), int(fields[3]), fields[5]
    if root:
        sys.exit(f"as_unit: {root} has no user {name}")
    return NOBODY_ELSE, NOBODY_ELSE, "/"


def variables(path):
    """A file of NAME=VALUE lines; a minus before its name: it need not be there."""
    if path[0] == "-" and not os.path.exists(path[1:]):
        return {}
    with open(path.lstrip("-")) as file:
        lines = [line.strip() for line in file]
    pairs = [line.split("=", 1) for line in lines if line and line[0] not in "#;"]
    return {name: value.strip("\"'") for name, value in pairs}


def allowed_calls(filters):
    """The system calls of SystemCallFilter=, its groups taken apart."""
    def members(name):
        if name[0] != "@":
            return {name}
        listed = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True, text=True,
                                stdout=subprocess.PIPE).stdout.split("\n")[1:]
        return set().union(*(members(line.strip()) for line in listed
                             if line.strip() and line.strip()[0] != "#"))

    allowed = members("@default")
    for line in filters:
        for name in line.lstrip("~").split():
            allowed = allowed - members(name) if line[0] == "~" else allowed | members(name)
    return allowed


@contextlib.contextmanager
def service_manager(folder, uid):
    """The path of a socket that prints what it is told."""
    path = folder + "/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        os.chown(path, uid, -1)

        def listen():
            # They interrupt the other thread, which waits for the command.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
            while message := listener.recv(4096).decode():
                print(f"notify: {message.strip()}", file=sys.stderr, flush=True)

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield path
        finally:
            listener.sendto(b"", path)
            thread.join()


def main(path, instance, state, root=""):
    unit = Unit(path, instance, state, root)
    is_root = os.getuid() == 0
    uid, gid, home = user(unit.one("User"), root)
    if not is_root:
        uid, gid = os.getuid(), os.getgid()

    def folder(path, mode):
        os.makedirs(root + path, exist_ok=True)
        os.chmod(root + path, mode)
        os.chown(root + path, uid, gid)
        return path

    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "LANG": "C.UTF-8",
        "HOME": home, "USER": unit.one("User"), "LOGNAME": unit.one("User"),
        "SHELL": "/usr/sbin/nologin", "INVOCATION_ID": "0" * 32, "JOURNAL_STREAM": "0:0",
        "STATE_DIRECTORY": folder(os.path.join(state, unit.one("StateDirectory")),
                                  int(unit.one("StateDirectoryMode"), 8)),
    }
    for file in unit.all("EnvironmentFile"):
        minus = "-" if file[0] == "-" else ""
        environment.update(variables(minus + root + file.lstrip("-")))

    with contextlib.ExitStack() as stack:
        run = tempfile.mkdtemp(dir=root + "/run" if root else None)
        stack.callback(shutil.rmtree, run)
        os.chmod(run, 0o755)
        if unit.all("LoadCredential"):
            credentials = folder(f"{run.removeprefix(root)}/{unit.name}", 0o700)
            environment["CREDENTIALS_DIRECTORY"] = credentials
            for line in unit.all("LoadCredential"):
                name, source = line.split(":", 1)
                copy = f"{root}{credentials}/{name}"
                try:
                    shutil.copyfile(root + source, copy)
                except OSError as error:
                    print(f"as_unit: {error}", file=sys.stderr)
                    return EXIT_CREDENTIALS
                os.chmod(copy, 0o400)
                os.chown(copy, uid, gid)
        if unit.one("Type") == "notify":
            listening = stack.enter_context(service_manager(run, uid))
            environment["NOTIFY_SOCKET"] = listening.removeprefix(root)
            environment["WATCHDOG_USEC"] = str(int(unit.one("WatchdogSec")) * 1_000_000)

        command = unit.one("ExecStart").split()
        if not root:
            allowed = allowed_calls(unit.all("SystemCallFilter"))
            calls = "!" + ",".join("?" + name for name in sorted(allowed))
            # With -D the command keeps the process id, and gets the signals.
            command = ["/usr/bin/strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "signal=none",
                       "-e", "trace=" + calls, "-e", f"inject={calls}:error=EPERM", "--"] + command
        rights = ["--no-new-privs"]
        if is_root:
            rights += [f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--inh-caps=-all",
                       "--bounding-set=-all"]

        def enter():
            if root:
                os.chroot(root)
            os.chdir(unit.one("WorkingDirectory"))
            os.umask(int(unit.one("UMask"), 8))

        process = subprocess.Popen(["/usr/bin/setpriv"] + rights + ["--"] + command,
                                   env=environment, preexec_fn=enter)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: process.send_signal(number))
        return process.wait()


# A parent may have blocked them, and the command begins with this mask.
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGHUP})
code = main(*sys.argv[1:])
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
