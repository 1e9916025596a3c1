"""What the tests of buffers share: streams of every kind, and TLS without a network."""

import contextlib
import gc
import random
import socket
import ssl
import threading

# For tests alone: the key is public.
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgX5XbeCyEDf0vWLHR
YLn0zmAJsiaTSNGGah700wLHiaahRANCAAR+/FdhQ/INY84NFkpTjCTBYRll8/Qn
/E0v3LbDIo7f9j+I6d4xBPxOWufuvRi+o4vHK4GeZKaGI0vmPKZApE6n
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBlTCCATugAwIBAgIUXppfii39sz0ECYGawt69ob9qAmAwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNTE1NDQ0OVoYDzIxMjYxMTAx
MTU0NDQ5WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAR+/FdhQ/INY84NFkpTjCTBYRll8/Qn/E0v3LbDIo7f9j+I6d4xBPxO
WufuvRi+o4vHK4GeZKaGI0vmPKZApE6no2kwZzAdBgNVHQ4EFgQUkMWDR/zyFpbA
d+j9os8WzekVjiEwHwYDVR0jBBgwFoAUkMWDR/zyFpbAd+j9os8WzekVjiEwDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
SAAwRQIgc/bKCTfSfPRrvOVLmM8ozzNId97OXFSpRetXtwQTD78CIQCAVRJ2NbyE
tH1XHp1J9Ur9/QV8suTWI3xY7gqtiWaXUg==
-----END CERTIFICATE-----
"""


def content(size, seed=1):
    """Give so many random bytes."""
    return random.Random(seed).randbytes(size)


def settled(pool):
    """Tell whether all blocks are free, and nobody waits; look for garbage if not."""

    def is_so():
        stats = pool.stats()
        return (stats.free, stats.buffers, stats.waiting) == (stats.total, 0, 0)

    if not is_so():  # a collection takes longer than a test
        gc.collect()
    return is_so()


def tls_contexts(folder):
    """Give the contexts of a server and of a client that trusts it."""
    path = folder / "certificate.pem"
    path.write_text(CERTIFICATE)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    client = ssl.create_default_context(cafile=str(path))
    return server, client


@contextlib.contextmanager
def tcp_pair():
    """Give two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        left = socket.create_connection(server.getsockname())
        right, _ = server.accept()
    with left, right:
        yield left, right


@contextlib.contextmanager
def tls_pair(folder):
    """Give two ends of a TLS connection, both blocking."""
    server, client = tls_contexts(folder)
    with tcp_pair() as (left, right):
        ends = {}

        def accept():
            ends["server"] = server.wrap_socket(right, server_side=True)

        thread = threading.Thread(target=accept)
        thread.start()
        near = client.wrap_socket(left, server_hostname="localhost")
        thread.join()
        with near, ends["server"] as far:
            yield near, far


@contextlib.contextmanager
def in_thread(function, *args):
    """Call a function in a thread meanwhile; raise what it raised."""
    errors = []

    def call():
        try:
            function(*args)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(30)
    assert not thread.is_alive()
    if errors:
        raise errors[0]
