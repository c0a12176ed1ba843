"""One list of hostile texts, for every place where text comes in."""

from __future__ import annotations

from hashlib import sha256

# Long, and of a kind that no index can compress into a page.
NOISE = "".join(sha256(b"%d" % number).hexdigest() for number in range(1600))

TEXTS = {
    # SQL
    "a quote": "'",
    "a comment": "acme'--",
    "always true": "' OR '1'='1",
    "drop table": "'); DROP TABLE transfers; --",
    "dollar quotes": "$$; DELETE FROM books; $$",
    "union": "x' UNION SELECT secret_hash FROM api_keys --",
    "pg_sleep": "1; SELECT pg_sleep(30)",
    "copy program": "'; COPY fixes TO PROGRAM 'sh' --",
    "a bound parameter": "%(customer_id)s",
    "wildcards": "%_%",
    # what no terminal, no log and no column should get
    "NUL": "\x00",
    "NUL inside": "acme\x00admin",
    "a lone high surrogate": "\ud800",
    "a lone low surrogate": "acme\udcff",
    "a surrogate pair in two halves": "\ud83d" + "x" + "\udcb8",
    "ANSI colour": "\x1b[31mred\x1b[0m",
    "ANSI that rewrites the line": "\x1b[2K\x1b[1Gcharged",
    "a terminal title": "\x1b]0;owned\x07",
    "C1 control": "\x9b31m",
    "a bell and a backspace": "ok\x07\x08\x08no",
    "DEL": "\x7f",
    "the unit separator": "acme\x1fglobex",
    "bidi override": "\u202egnp.exe",
    "bidi isolate": "\u2067acme\u2069",
    "zero width": "ac\u200bme",
    "a byte order mark": "\ufeffacme",
    "a non-character": "\ufffe",
    "private use": "\ue000",
    # twins
    "NFC": "caf\u00e9",
    "NFD": "cafe\u0301",
    "a Cyrillic twin": "\u0430cme",
    "full width": "\uff41\uff43\uff4d\uff45",
    "upper case": "ACME",
    "Unicode digits": "\u0661\u0662\u0663",
    "emoji": "💸👨‍👩‍👧",
    # nothing much, and far too much
    "empty": "",
    "a space": " ",
    "white space": " \t\u00a0\u3000",
    "a space behind": "acme ",
    "a line break": "acme\n",
    "only a line break": "\n",
    "very long": NOISE,
    "129 characters": "x" * 129,
    # paths and addresses
    "path traversal": "../../../../etc/passwd",
    "path traversal, encoded": "..%2f..%2fetc%2fpasswd",
    "dots": "..",
    "a slash": "/",
    "a Windows path": "C:\\Windows\\system32",
    "a file URL": "file:///etc/passwd",
    "a metadata URL": "http://169.254.169.254/latest/meta-data/",
    # for whoever formats, renders or evaluates
    "a format string": "%s%s%n%x",
    "braces": "{0.__class__.__mro__}",
    "a template": "{{7*7}}${7*7}<%= 7*7 %>",
    "markup": "[bold red]acme[/bold red]",
    "a script": "<script>alert(1)</script>",
    "a shell": "$(reboot); `reboot` | reboot && reboot",
    "log4j": "${jndi:ldap://127.0.0.1/a}",
    "a spreadsheet": "=HYPERLINK(A1)",
    # protocols
    "a header": "acme\r\nSet-Cookie: admin=1",
    "a response": "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "Redis commands": "*1\r\n$8\r\nFLUSHALL\r\n",
    "a stream name": "inbox:{0}",
    "a JSON fragment": '","customer_id":"globex',
    "a JSON object": '{"customer_id": "globex"}',
    "a JSON escape": "\\u0000\\ud800",
    "XML": '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    # words that mean something somewhere
    "null": "null",
    "None": "None",
    "true": "true",
    "NaN": "NaN",
    "infinity": "-Infinity",
    "__proto__": "__proto__",
    "a negative number": "-1",
    "zero": "0",
    "a large number": "9" * 40,
    "hexadecimal": "0x7fffffff",
    "an option": "--json",
    "the end of options": "--",
    "a dash": "-",
    "an undefined": "undefined",
}
