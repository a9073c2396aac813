"""A strict S3 server for the tests: OpenStack Swift with its s3api in one process, on loopback.

It checks signatures, payload hashes, clock skew and conditions. Usage: strict_s3.py FOLDER PORT
ACCOUNT USER SECRET; the access key id is ACCOUNT:USER. Prints "ready" when it listens.
"""

import os
import sys
import types
import warnings

warnings.simplefilter("ignore")
import eventlet  # noqa: E402

eventlet.monkey_patch()
from eventlet import listen, wsgi  # noqa: E402
from swift.common.http_protocol import SwiftHttpProtocol  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.wsgi import loadapp  # noqa: E402

folder, port, account, user, secret = sys.argv[1], int(sys.argv[2]), *sys.argv[3:6]
settings = os.path.join(folder, "etc")
os.makedirs(settings, exist_ok=True)
os.makedirs(os.path.join(folder, "srv", "d1"), exist_ok=True)


def write(name, text):
    with open(os.path.join(settings, name), "w") as file:
        file.write(text)


class Cache:
    """Stands in for memcached, in this process."""

    values = {}

    def set(self, key, value, **_):
        self.values[key] = value

    def get(self, key, **_):
        return self.values.get(key)

    def delete(self, key, *_):
        self.values.pop(key, None)

    def incr(self, key, delta=1, **_):
        self.values[key] = int(self.values.get(key, 0)) + delta
        return self.values[key]


def cache_filter(_, **__):
    def wrap(application):
        def call(environment, start_response):
            environment["swift.cache"] = Cache()
            return application(environment, start_response)

        return call

    return wrap


module = types.ModuleType("tranche_cache")
module.filter_factory = cache_filter
sys.modules["tranche_cache"] = module

write(
    "swift.conf",
    "[swift-hash]\nswift_hash_path_suffix=a\nswift_hash_path_prefix=b\n"
    "[storage-policy:0]\nname=only\ndefault=yes\n",
)
from swift.common import utils  # noqa: E402

utils.SWIFT_CONF_FILE = os.path.join(settings, "swift.conf")
utils.validate_hash_conf()
from swift.common import storage_policy  # noqa: E402

storage_policy.SWIFT_CONF_FILE = utils.SWIFT_CONF_FILE
storage_policy.reload_storage_policies()

sockets = {}
for server in ("account", "container", "object"):
    sockets[server] = listen(("127.0.0.1", 0))
    number = sockets[server].getsockname()[1]
    ring = RingBuilder(4, 1, 0)
    ring.add_dev(
        dict(
            id=0,
            region=1,
            zone=1,
            ip="127.0.0.1",
            port=number,
            replication_ip="127.0.0.1",
            replication_port=number,
            device="d1",
            weight=1,
            meta="",
        )
    )
    ring.rebalance()
    ring.get_ring().save(os.path.join(settings, server + ".ring.gz"))
    write(
        server + ".conf",
        f"[DEFAULT]\nswift_dir={settings}\ndevices={folder}/srv\nmount_check=false\n"
        f"[pipeline:main]\npipeline=app\n[app:app]\nuse=egg:swift#{server}\n",
    )

filters = (
    "catch_errors gatekeeper healthcheck cache listing_formats bulk s3api tempauth slo dlo "
    "copy versioned_writes symlink"
).split()
options = {
    "s3api": "location=us-east-1\nstorage_domain=localhost\n",
    "tempauth": f"user_{account}_{user}={secret} .admin\n",
    "versioned_writes": "allow_object_versioning=true\n",
}
proxy = (
    f"[DEFAULT]\nswift_dir={settings}\n[pipeline:main]\npipeline={' '.join(filters)} proxy-server\n"
)
for name in filters:
    factory = (
        "paste.filter_factory=tranche_cache:filter_factory"
        if name == "cache"
        else f"use=egg:swift#{name}"
    )
    proxy += f"[filter:{name}]\n{factory}\n{options.get(name, '')}"
write("proxy.conf", proxy + "[app:proxy-server]\nuse=egg:swift#proxy\naccount_autocreate=true\n")


def serve(socket, configuration):
    application = loadapp(os.path.join(settings, configuration), global_conf={"log_level": "ERROR"})
    return eventlet.spawn(
        wsgi.server,
        socket,
        application,
        log=open(os.devnull, "w"),
        protocol=SwiftHttpProtocol,
        capitalize_response_headers=False,
    )


for server, socket in sockets.items():
    serve(socket, server + ".conf")
front = serve(listen(("127.0.0.1", port)), "proxy.conf")
print("ready", flush=True)
front.wait()
