"""How fast this machine is, so that figures of different machines can be compared (design: budgets).

nginx       Debian's nginx, one worker, serving a static file over TLS, asked by wrk with 16 connections
fdatasync   4 KiB written and synced in a loop
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

NGINX_CONF = """\
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off;
  keepalive_requests 1000000;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {folder}/tls.crt; ssl_certificate_key {folder}/tls.key;
    root {folder}/files;
  }}
}}
"""


def nginx_rate(size_bytes: int, seconds: int = 3, port: int = 18443) -> float:
    """Requests per second; 0.0 when nginx or wrk is not installed."""
    if shutil.which("nginx") is None or shutil.which("wrk") is None:
        return 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "files").mkdir()
        (folder / "files" / "x").write_bytes(os.urandom(size_bytes))
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
                *("-days", "2", "-subj", "/CN=localhost", "-keyout", f"{folder}/tls.key", "-out", f"{folder}/tls.crt"),
            ],
            check=True,
            capture_output=True,
        )
        (folder / "nginx.conf").write_text(NGINX_CONF.format(folder=folder, port=port))
        server = subprocess.Popen(["nginx", "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"])
        try:
            time.sleep(0.3)
            return wrk_rate(f"https://127.0.0.1:{port}/x", seconds)
        finally:
            server.terminate()
            server.wait()


def wrk_rate(url: str, seconds: int, connections: int = 16) -> float:
    output = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", url], check=True, capture_output=True, text=True
    ).stdout
    match = re.search(r"Requests/sec:\s+([\d.]+)", output)
    return float(match[1]) if match else 0.0


def fdatasync_rate(folder: str, seconds: float = 1.0) -> float:
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            os.pwrite(file.fileno(), b"x" * 4096, 0)
            os.fdatasync(file.fileno())
            count += 1
        return count / (time.perf_counter() - started)
