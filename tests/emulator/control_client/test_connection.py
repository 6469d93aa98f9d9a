"""How `RemoteEmulator` connects: certificates, plain HTTP, proxies, URLs that cannot be right."""

from __future__ import annotations

import http.server
import ipaddress
import json
import ssl
import subprocess
import threading
import warnings

import pytest

from caged.emulator import Emulator, EmulatorError, InsecureConnectionWarning, RemoteEmulator
from caged.emulator.control_client.connection import client_options

KEY = "caged_adm_secret"


class Endpoint:
    """An https server with a certificate of its own that answers as an emulator does, and remembers the admin keys that
    it was sent."""

    def __init__(self, directory):
        self.certificate = directory / "certificate.pem"
        self.keys = keys = []
        private = directory / "private.pem"
        words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
        names = ["-addext", "subjectAltName=DNS:localhost"]
        files = ["-keyout", str(private), "-out", str(self.certificate)]
        subprocess.run(["openssl", *words.split(), *names, *files], check=True, capture_output=True)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                keys.append(self.headers["Authorization"])
                body = json.dumps([{"id": "acct_1", "api_key": "caged_sk_1"}]).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, private)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.handle_error = lambda *_arguments: None  # a client that refuses the certificate hangs up
        self.url = f"https://localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join(60)
        self._server.server_close()


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    one = Endpoint(tmp_path_factory.mktemp("tls"))
    yield one
    one.close()


@pytest.fixture(autouse=True)
def bare(monkeypatch, endpoint):
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    endpoint.keys.clear()


def test_certificate_without_a_trusted_issuer_is_refused_and_the_admin_key_not_sent(endpoint):
    with RemoteEmulator(endpoint.url, KEY) as emulator:
        with pytest.raises(EmulatorError, match="CERTIFICATE_VERIFY_FAILED"):
            emulator.accounts()
    assert endpoint.keys == []


def test_certificate_of_another_host_is_refused(endpoint):
    url = endpoint.url.replace("localhost", "127.0.0.1")
    with RemoteEmulator(url, KEY, verify=str(endpoint.certificate)) as emulator:
        with pytest.raises(EmulatorError, match="CERTIFICATE_VERIFY_FAILED"):
            emulator.accounts()
    assert endpoint.keys == []


@pytest.mark.parametrize("how", ["SSL_CERT_FILE", "path", "context", "off"])
def test_certificate_that_is_trusted_is_accepted(endpoint, monkeypatch, how):
    verify = True
    if how == "SSL_CERT_FILE":
        monkeypatch.setenv("SSL_CERT_FILE", str(endpoint.certificate))
    elif how == "path":
        verify = str(endpoint.certificate)
    elif how == "context":
        verify = ssl.create_default_context(cafile=str(endpoint.certificate))
    else:
        verify = False
    with RemoteEmulator(endpoint.url, KEY, verify=verify) as emulator:
        assert [account.id for account in emulator.accounts()] == ["acct_1"]
    assert endpoint.keys == [f"Bearer {KEY}"]


def test_file_of_authorities_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"verify: cannot read certificate authorities from '.*nope.pem'"):
        RemoteEmulator("https://localhost:1", KEY, verify=str(tmp_path / "nope.pem"))


def test_no_certificates_are_loaded_for_plain_http_on_this_machine(monkeypatch, emulator):
    def refuse(*_arguments, **_options):
        raise AssertionError("certificates are loaded")

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", refuse)
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", refuse)
    with RemoteEmulator(emulator.base_url, emulator.admin_key) as remote:
        assert remote.accounts()


@pytest.mark.parametrize("url", ["http://emulator.example:4747", "http://192.0.2.7:4747"])
def test_plain_http_to_another_host_warns_unless_it_is_accepted(url):
    with pytest.warns(InsecureConnectionWarning, match="its admin key can be read on the network"):
        RemoteEmulator(url, KEY).close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RemoteEmulator(url, KEY, verify=False).close()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://emulator.example"]
)
def test_no_warning_on_this_machine_and_with_https(url):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RemoteEmulator(url, KEY).close()


def test_proxies_are_used_for_other_hosts_only():
    assert client_options("https://127.0.0.1:1")["trust_env"] is False
    assert client_options("https://emulator.example")["trust_env"] is True
    assert client_options("https://emulator.example")["verify"] is True


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("localhost:4747", "'localhost:4747' is not an http:// or https:// URL"),
        ("ftp://localhost", "is not an http:// or https:// URL"),
        ("http://", "is not an http:// or https:// URL"),
        ("http://localhost:port", "is not a URL"),
        ("http://localhost:4747/v1", "must end before /v1; did you mean 'http://localhost:4747'?"),
        ("http://localhost:4747/_emulator/", "did you mean 'http://localhost:4747'?"),
    ],
)
def test_url_that_cannot_be_an_emulators_is_refused_with_what_to_give(url, said):
    with pytest.raises(ValueError, match="base_url: ") as refused:
        RemoteEmulator(url, KEY)
    assert said in str(refused.value)


def test_emulator_on_another_address_of_this_machine_does_not_warn_about_itself():
    addresses = [address for address in _addresses() if not ipaddress.ip_address(address).is_loopback]
    if not addresses:
        pytest.skip("this machine has no address but loopback")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Emulator(host=addresses[0]) as emulator:
            assert emulator.accounts()


def _addresses():
    import socket

    try:
        found = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({entry[4][0] for entry in found})


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        ((5, KEY), {}, "base_url: must be a str, not int"),
        (("http://127.0.0.1:1", 5), {}, "admin_key: must be a str, not int"),
        (("https://localhost:1", KEY), {"verify": 0}, "verify: must be a bool, a path or an ssl.SSLContext, not int"),
    ],
)
def test_argument_of_another_type_is_named(arguments, options, text):
    with pytest.raises(TypeError, match=text):
        RemoteEmulator(*arguments, **options)


def test_account_to_delete_must_be_one(either):
    for value in (None, 5):
        with pytest.raises(TypeError, match="account_id: must be an account or its id"):
            either.remove_account(value)
