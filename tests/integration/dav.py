# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes the tests' nginx a place to publish into: WebDAV for those with a client certificate of the test's CA."""

from __future__ import annotations

#: For the server block; `certificates` is a file with the CAs of the clients.
LOCATIONS = """
        ssl_client_certificate {certificates};
        ssl_verify_client optional;
        ssl_verify_depth 3;
        client_max_body_size 0;
        location /dav/ {{
            if ($ssl_client_verify != SUCCESS) {{ return 403; }}
            dav_methods PUT DELETE MKCOL MOVE;
            dav_access user:rw group:r all:r;
        }}
        location /plain/ {{
            if ($ssl_client_verify != SUCCESS) {{ return 403; }}
            dav_methods PUT DELETE MKCOL;
            create_full_put_path on;
        }}
"""
